// gaussian_heatmap on a GPU: a tile's profiles lie in shared memory, every pixel is one product.
#include "../common/peak_shape.h"
#include "tiles.cuh"

namespace mmlandmark {
namespace cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    draw_kernel(const typename SumOf<T>::Type* points, Widths<typename SumOf<T>::Type> sigma,
                const typename SumOf<T>::Type* height, int dims, PeakShape shape, T* maps, MapLayout layout,
                Tiling tiling) {
  using Sum = typename SumOf<T>::Type;
  __shared__ Sum along[Tiling::kColumns], across[Tiling::kRows];
  const Tile tile = tile_of_block(tiling, layout.size);
  const Sum top = height[tile.map];
  const Sum* center = points + tile.map * dims;
  T* out = maps + tile.map * layout.size.pixels();
  const bool is_disc = shape == PeakShape::kDisc;
  const Disc<Sum> disc = disc_of(points, sigma, tile.map, dims);
  // Squared distances of a disc, profiles of the others.
  const auto part = [&](int64_t pixel, int axis) {
    if (!is_disc) return profile_value(shape, Sum(pixel), center[axis], sigma.at(tile.map, axis));
    const Sum d = disc.along(Sum(pixel), axis);
    return d * d;
  };
  if (top != 0) {
    for (int x = thread_id(); x < tile.columns; x += Tiling::kThreads) along[x] = part(tile.column + x, 0);
    for (int i = thread_id(); i < tile.rows; i += Tiling::kThreads) {
      const int64_t row = tile.row + i;
      const Sum first = part(row % layout.size.height, 1);
      const Sum second = dims == 3 ? part(row / layout.size.height, 2) : Sum(is_disc ? 0 : 1);
      across[i] = is_disc ? first + second : without_tiny(first * second);
    }
  }
  __syncthreads();
  over_tile<Pack<T>>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    Pack<T> pack{};
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i >= count || top == 0) continue;
      const Sum a = along[x + i - tile.column], b = across[line.row - tile.row];
      const Sum value = is_disc ? (a + b <= disc.bound ? top : Sum(0)) : a * b * top;
      pack.values[i] = narrowed<T>(value);
    }
    store_pack(out + line.row * layout.size.width + x, pack, count);
  });
}

struct AddSlopes {
  __device__ void operator()(HeatmapSlopes& sum, const HeatmapSlopes& part) const {
    for (int axis = 0; axis < 3; ++axis) {
      sum.center[axis] += part.center[axis];
      sum.sigma[axis] += part.sigma[axis];
    }
    sum.height += part.height;
  }
};

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    slopes_kernel(const T* gradient, MapLayout layout, Tiling tiling, const typename SumOf<T>::Type* points,
                  Widths<typename SumOf<T>::Type> sigma, int dims, PeakShape shape, HeatmapSlopes* partial) {
  using Sum = typename SumOf<T>::Type;
  __shared__ Profile<Sum> along[Tiling::kColumns];
  __shared__ HeatmapSlopes sums[Tiling::kThreads];
  const Tile tile = tile_of_block(tiling, layout.size);
  const Sum* center = points + tile.map * dims;
  const Sum width_x = sigma.at(tile.map, 0), width_y = sigma.at(tile.map, 1),
            width_z = sigma.at(tile.map, dims - 1);
  for (int x = thread_id(); x < tile.columns; x += Tiling::kThreads)
    along[x] = profile_with_slopes(shape, Sum(tile.column + x), center[0], width_x);
  __syncthreads();
  const T* map = gradient + layout.map_offset(tile.map);
  HeatmapSlopes own{};
  over_tile<Pack<T>>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    const Pack<T> values = load_pack<Pack<T>>(map + layout.line_offset(line.y, line.z) + x, count);
    Sum value = 0, by_center = 0, by_sigma = 0;
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i >= count) continue;
      const Sum upstream = widened(values.values[i]);
      const Profile<Sum>& profile = along[x + i - tile.column];
      value += upstream * profile.value;
      by_center += upstream * profile.by_center;
      by_sigma += upstream * profile.by_sigma;
    }
    const auto y = profile_with_slopes(shape, Sum(line.y), center[1], width_y);
    Profile<Sum> z{1, 0, 0};
    if (dims == 3) z = profile_with_slopes(shape, Sum(line.z), center[2], width_z);
    own.center[0] += by_center * y.value * z.value;
    own.center[1] += value * y.by_center * z.value;
    own.center[2] += value * y.value * z.by_center;
    if (sigma.per_axis()) {
      own.sigma[0] += by_sigma * y.value * z.value;
      own.sigma[1] += value * y.by_sigma * z.value;
      own.sigma[2] += value * y.value * z.by_sigma;
    } else {
      own.sigma[0] +=
          by_sigma * y.value * z.value + value * y.by_sigma * z.value + value * y.value * z.by_sigma;
    }
    own.height += value * y.value * z.value;
  });
  const HeatmapSlopes sum = over_block(own, sums, AddSlopes());
  if (thread_id() == 0) partial[tile.index] = sum;
}

template <class Sum>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    slopes_of_maps_kernel(const HeatmapSlopes* partial, int64_t per_map, const Sum* height, int dims,
                          int axes, Sum* by_points, Sum* by_sigma, Sum* by_height) {
  __shared__ HeatmapSlopes sums[Tiling::kThreads];
  const int64_t map = blockIdx.x;
  const HeatmapSlopes sum = over_tiles(partial + map * per_map, per_map, HeatmapSlopes{}, sums, AddSlopes());
  if (thread_id() != 0) return;
  // A map of height 0 was not drawn at all: its landmark may be anything.
  const bool drawn = height[map] != 0;
  for (int axis = 0; axis < dims; ++axis)
    by_points[map * dims + axis] = drawn ? Sum(sum.center[axis] * height[map]) : Sum(0);
  for (int axis = 0; axis < axes; ++axis)
    by_sigma[map * axes + axis] = drawn ? Sum(sum.sigma[axis] * height[map]) : Sum(0);
  by_height[map] = drawn ? Sum(sum.height) : Sum(0);
}

}  // namespace

void draw(Type type, const Landmarks& landmarks, PeakShape shape, void* maps, const MapLayout& layout,
          cudaStream_t stream) {
  const Tiling tiling(layout.count, layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    launch(draw_kernel<T>, tiling.tiles(), stream, static_cast<const Sum*>(landmarks.points),
           widths_of<Sum>(landmarks), static_cast<const Sum*>(landmarks.factor), int(landmarks.dims), shape,
           static_cast<T*>(maps), layout, tiling);
  });
}

void draw_backward(Type type, const Maps& gradient, const Landmarks& landmarks, PeakShape shape,
                   HeatmapSlopes* partial, void* by_points, void* by_sigma, void* by_height,
                   cudaStream_t stream) {
  const Tiling tiling(gradient.layout.count, gradient.layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    launch(slopes_kernel<T>, tiling.tiles(), stream, static_cast<const T*>(gradient.data), gradient.layout,
           tiling, static_cast<const Sum*>(landmarks.points), widths_of<Sum>(landmarks), int(landmarks.dims),
           shape, partial);
    launch(slopes_of_maps_kernel<Sum>, tiling.maps, stream, partial, tiling.per_map(),
           static_cast<const Sum*>(landmarks.factor), int(landmarks.dims), int(landmarks.axes),
           static_cast<Sum*>(by_points), static_cast<Sum*>(by_sigma), static_cast<Sum*>(by_height));
  });
}

}  // namespace cuda
}  // namespace mmlandmark
