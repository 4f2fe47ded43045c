// Mean distances of maps from points, on a GPU.
#include "tiles.cuh"

namespace mmlandmark {
namespace cuda {
namespace {

// Offset of a row from the centre, in the unit of the factors.
struct Offset {
  double y, z;
};

template <class Sum>
__device__ Sum length_from(const Offset& rest, Sum along) {
  return root_of(along * along + Sum(rest.y * rest.y + rest.z * rest.z));
}

__device__ inline Offset offset_of(const DistanceFrame& frame, const Line& line) {
  return {(double(line.y) - frame.center[1]) * frame.factors[1],
          (double(line.z) - frame.center[2]) * frame.factors[2]};
}

template <class Sum>
__device__ DistanceFrame frame_of(const Centers& centers, int64_t map) {
  DistanceFrame frame{{0, 0, 0}, {0, 0, 0}};
  const Sum* points = static_cast<const Sum*>(centers.points);
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    if (axis >= centers.dims) continue;
    frame.center[axis] = points[map * centers.dims + axis];
    frame.factors[axis] = centers.factors[axis];
  }
  return frame;
}

struct AddDistances {
  __device__ void operator()(DistanceSums& sum, const DistanceSums& part) const {
    sum.mass += part.mass;
    sum.moment += part.moment;
  }
};

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    distances_kernel(const T* heatmaps, MapLayout layout, Tiling tiling, Centers centers,
                     DistanceSums* partial) {
  using Sum = typename SumOf<T>::Type;
  __shared__ DistanceSums sums[Tiling::kThreads];
  const Tile tile = tile_of_block(tiling, layout.size);
  const T* map = heatmaps + layout.map_offset(tile.map);
  const DistanceFrame frame = frame_of<Sum>(centers, tile.map);
  DistanceSums own{0, 0};
  over_tile<Pack<T>>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    const Pack<T> values = load_pack<Pack<T>>(map + layout.line_offset(line.y, line.z) + x, count);
    const Offset rest = offset_of(frame, line);
    Sum mass = 0, moment = 0;
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i >= count) continue;
      const Sum value = widened(values.values[i]);
      mass += value;
      moment += value * length_from(rest, (Sum(x + i) - Sum(frame.center[0])) * Sum(frame.factors[0]));
    }
    own.mass += mass;
    own.moment += moment;
  });
  const DistanceSums all = over_block(own, sums, AddDistances());
  if (thread_id() == 0) partial[tile.index] = all;
}

template <class Sum>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    distance_of_maps_kernel(const DistanceSums* partial, int64_t per_map, Sum* result, Sum* mass) {
  __shared__ DistanceSums sums[Tiling::kThreads];
  const int64_t map = blockIdx.x;
  const DistanceSums all =
      over_tiles(partial + map * per_map, per_map, DistanceSums{0, 0}, sums, AddDistances());
  if (thread_id() != 0) return;
  result[map] = Sum(all.moment / all.mass);
  mass[map] = Sum(all.mass);
}

struct Pull {
  double along[3];
};
struct AddPulls {
  __device__ void operator()(Pull& sum, const Pull& part) const {
    for (int axis = 0; axis < 3; ++axis) sum.along[axis] += part.along[axis];
  }
};

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    distance_slopes_kernel(const T* heatmaps, MapLayout layout, Tiling tiling, Centers centers,
                           const typename SumOf<T>::Type* gradient, const typename SumOf<T>::Type* result,
                           const typename SumOf<T>::Type* mass, T* slopes, Pull* partial) {
  using Sum = typename SumOf<T>::Type;
  __shared__ Pull sums[Tiling::kThreads];
  const Tile tile = tile_of_block(tiling, layout.size);
  const T* map = heatmaps + layout.map_offset(tile.map);
  T* out = slopes + tile.map * layout.size.pixels();
  const DistanceFrame frame = frame_of<Sum>(centers, tile.map);
  const Sum mean = result[tile.map], factor = gradient[tile.map] / mass[tile.map];
  Pull own{{0, 0, 0}};
  over_tile<Pack<T>>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    const Pack<T> values = load_pack<Pack<T>>(map + layout.line_offset(line.y, line.z) + x, count);
    const Offset rest = offset_of(frame, line);
    Pack<T> pack{};
    Sum pull = 0, pull_along = 0;
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i >= count) continue;
      const Sum along = (Sum(x + i) - Sum(frame.center[0])) * Sum(frame.factors[0]);
      const Sum d = length_from(rest, along);
      // At the centre itself the distance has no direction and no gradient.
      const Sum direction = d > 0 ? widened(values.values[i]) / d : Sum(0);
      pull += direction;
      pull_along += direction * along;
      pack.values[i] = narrowed<T>((d - mean) * factor);
    }
    own.along[0] -= factor * frame.factors[0] * pull_along;
    own.along[1] -= factor * frame.factors[1] * rest.y * pull;
    own.along[2] -= factor * frame.factors[2] * rest.z * pull;
    store_pack(out + line.row * layout.size.width + x, pack, count);
  });
  const Pull all = over_block(own, sums, AddPulls());
  if (thread_id() == 0) partial[tile.index] = all;
}

template <class Sum>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    pull_of_maps_kernel(const Pull* partial, int64_t per_map, int dims, Sum* by_centers) {
  __shared__ Pull sums[Tiling::kThreads];
  const int64_t map = blockIdx.x;
  const Pull all = over_tiles(partial + map * per_map, per_map, Pull{{0, 0, 0}}, sums, AddPulls());
  if (thread_id() < dims) by_centers[map * dims + thread_id()] = Sum(all.along[thread_id()]);
}

}  // namespace

void distance(Type type, const Maps& heatmaps, const Centers& centers, DistanceSums* partial, void* result,
              void* mass, cudaStream_t stream) {
  const Tiling tiling(heatmaps.layout.count, heatmaps.layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    launch(distances_kernel<T>, tiling.tiles(), stream, static_cast<const T*>(heatmaps.data), heatmaps.layout,
           tiling, centers, partial);
    launch(distance_of_maps_kernel<Sum>, tiling.maps, stream, partial, tiling.per_map(),
           static_cast<Sum*>(result), static_cast<Sum*>(mass));
  });
}

void distance_backward(Type type, const Maps& heatmaps, const Centers& centers, const void* gradient,
                       const void* result, const void* mass, void* slopes, double* partial, void* by_centers,
                       cudaStream_t stream) {
  const Tiling tiling(heatmaps.layout.count, heatmaps.layout.size);
  Pull* pulls = reinterpret_cast<Pull*>(partial);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    launch(distance_slopes_kernel<T>, tiling.tiles(), stream, static_cast<const T*>(heatmaps.data),
           heatmaps.layout, tiling, centers, static_cast<const Sum*>(gradient),
           static_cast<const Sum*>(result), static_cast<const Sum*>(mass), static_cast<T*>(slopes), pulls);
    launch(pull_of_maps_kernel<Sum>, tiling.maps, stream, pulls, tiling.per_map(), int(centers.dims),
           static_cast<Sum*>(by_centers));
  });
}

}  // namespace cuda
}  // namespace mmlandmark
