// ewc_loss on a GPU: one read of the prediction and one write of the gradient, then a sum over the tiles.
#include "../common/ewc_loss.h"
#include "../common/peak_shape.h"
#include "tiles.cuh"

namespace mmlandmark {
namespace cuda {
namespace {

struct Add {
  __device__ void operator()(double& sum, double part) const { sum += part; }
};

// Error and slope of every pixel of a tile; `target(line, x, count, to)` writes the target of a pack.
template <class T, class Target>
__device__ double tile_loss(const T* map, const MapLayout& layout, const Tile& tile, const Target& target,
                            typename SumOf<T>::Type log_alpha, typename SumOf<T>::Type gain, T* slopes) {
  using Sum = typename SumOf<T>::Type;
  double total = 0;
  over_tile<Pack<T>>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    const Pack<T> values = load_pack<Pack<T>>(map + layout.line_offset(line.y, line.z) + x, count);
    Pack<T> out{};
    Sum truths[Pack<T>::kSize], sum = 0;
    target(line, x, count, truths);
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i >= count) continue;
      // Far away the weight is 1 to rounding.
      const Sum power = truths[i] * log_alpha, size = power < 0 ? -power : power;
      const Sum weight = size > Limits<Sum>::kNegligible ? exp_of(power) : Sum(1);
      Sum error, slope;
      ewc_pixel(widened(values.values[i]), truths[i], weight, error, slope);
      sum += error;
      out.values[i] = narrowed<T>(slope * gain);
    }
    if (slopes) store_pack(slopes + line.row * layout.size.width + x, out, count);
    total += sum;
  });
  return total;
}

template <class T>
__device__ void write_zeros(const MapLayout& layout, const Tile& tile, T* slopes) {
  over_tile<Pack<T>>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    store_pack(slopes + line.row * layout.size.width + x, Pack<T>{}, count);
  });
}

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    gaussian_kernel(const T* pred, MapLayout layout, Tiling tiling, const typename SumOf<T>::Type* points,
                    Widths<typename SumOf<T>::Type> sigma, const typename SumOf<T>::Type* factor, int dims,
                    typename SumOf<T>::Type log_alpha, T* slopes, double* partial) {
  using Sum = typename SumOf<T>::Type;
  __shared__ Sum along[Tiling::kColumns], across[Tiling::kRows];
  __shared__ double sums[Tiling::kThreads];
  const Tile tile = tile_of_block(tiling, layout.size);
  T* out = slopes ? slopes + tile.map * layout.size.pixels() : nullptr;
  const Sum gain = factor[tile.map];
  if (gain == 0) {  // the same for the whole block: no thread is left waiting
    if (out) write_zeros(layout, tile, out);
    if (thread_id() == 0) partial[tile.index] = 0;
    return;
  }
  const Sum* center = points + tile.map * dims;
  const auto profile = [&](int64_t pixel, int axis) {
    return profile_value(PeakShape::kGaussian, Sum(pixel), center[axis], sigma.at(tile.map, axis));
  };
  for (int x = thread_id(); x < tile.columns; x += Tiling::kThreads) along[x] = profile(tile.column + x, 0);
  for (int i = thread_id(); i < tile.rows; i += Tiling::kThreads) {
    const int64_t row = tile.row + i;
    Sum value = profile(row % layout.size.height, 1);
    if (dims == 3) value = value * profile(row / layout.size.height, 2);
    across[i] = without_tiny(value);
  }
  __syncthreads();
  const auto target = [&](const Line& line, int64_t x, int count, Sum* to) {
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i)
      to[i] = i < count ? across[line.row - tile.row] * along[x + i - tile.column] : Sum(0);
  };
  const double own =
      tile_loss(pred + layout.map_offset(tile.map), layout, tile, target, log_alpha, gain, out);
  const double sum = over_block(own, sums, Add());
  if (thread_id() == 0) partial[tile.index] = sum;
}

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    target_kernel(const T* pred, MapLayout layout, Tiling tiling, const T* goal,
                  const typename SumOf<T>::Type* factor, typename SumOf<T>::Type log_alpha, T* slopes,
                  double* partial) {
  using Sum = typename SumOf<T>::Type;
  __shared__ double sums[Tiling::kThreads];
  const Tile tile = tile_of_block(tiling, layout.size);
  T* out = slopes ? slopes + tile.map * layout.size.pixels() : nullptr;
  const Sum gain = factor[tile.map];
  if (gain == 0) {
    if (out) write_zeros(layout, tile, out);
    if (thread_id() == 0) partial[tile.index] = 0;
    return;
  }
  const T* truth = goal + tile.map * layout.size.pixels();
  const auto target = [&](const Line& line, int64_t x, int count, Sum* to) {
    const Pack<T> values = load_pack<Pack<T>>(truth + line.row * layout.size.width + x, count);
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) to[i] = widened(values.values[i]);
  };
  const double own =
      tile_loss(pred + layout.map_offset(tile.map), layout, tile, target, log_alpha, gain, out);
  const double sum = over_block(own, sums, Add());
  if (thread_id() == 0) partial[tile.index] = sum;
}

template <class Sum>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    losses_kernel(const double* partial, int64_t per_map, const Sum* factor, Sum* losses) {
  __shared__ double sums[Tiling::kThreads];
  const int64_t map = blockIdx.x;
  const double sum = over_tiles(partial + map * per_map, per_map, 0.0, sums, Add());
  if (thread_id() == 0) losses[map] = factor[map] == 0 ? Sum(0) : Sum(sum * factor[map]);
}

}  // namespace

void ewc_gaussian(Type type, const Maps& pred, const Landmarks& landmarks, double log_alpha, void* slopes,
                  double* partial, void* losses, cudaStream_t stream) {
  const Tiling tiling(pred.layout.count, pred.layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    const auto* factor = static_cast<const Sum*>(landmarks.factor);
    launch(gaussian_kernel<T>, tiling.tiles(), stream, static_cast<const T*>(pred.data), pred.layout, tiling,
           static_cast<const Sum*>(landmarks.points), widths_of<Sum>(landmarks), factor, int(landmarks.dims),
           Sum(log_alpha), static_cast<T*>(slopes), partial);
    launch(losses_kernel<Sum>, tiling.maps, stream, partial, tiling.per_map(), factor,
           static_cast<Sum*>(losses));
  });
}

void ewc_target(Type type, const Maps& pred, const void* target, const void* factor, double log_alpha,
                void* slopes, double* partial, void* losses, cudaStream_t stream) {
  const Tiling tiling(pred.layout.count, pred.layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    launch(target_kernel<T>, tiling.tiles(), stream, static_cast<const T*>(pred.data), pred.layout, tiling,
           static_cast<const T*>(target), static_cast<const Sum*>(factor), Sum(log_alpha),
           static_cast<T*>(slopes), partial);
    launch(losses_kernel<Sum>, tiling.maps, stream, partial, tiling.per_map(),
           static_cast<const Sum*>(factor), static_cast<Sum*>(losses));
  });
}

}  // namespace cuda
}  // namespace mmlandmark
