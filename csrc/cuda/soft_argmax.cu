// Expectations under a map's weights, distances from a point, and refined peaks, on a GPU.
#include "../common/refine.h"
#include "tiles.cuh"

namespace mmlandmark {
namespace cuda {
namespace {

struct Pixel {
  int64_t x, y, z, within;
};

__device__ inline Pixel pixel_at(const Geometry& size, const Line& line, int64_t x) {
  return {x, line.y, line.z, line.row * size.width + x};
}

// What the moments of a map are taken of, and how much of a row a thread takes at once: with eight feature
// maps and eight pixels it would run out of registers.
template <class T>
struct Coordinates {
  using Sum = typename SumOf<T>::Type;
  using P = Pack<T>;
  static constexpr int kMost = 3;
  int count;

  __device__ Sum at(const Pixel& pixel, int i) const {
    return Sum(i == 0 ? pixel.x : (i == 1 ? pixel.y : pixel.z));
  }
};
template <class T>
struct FeatureMaps {
  using Sum = typename SumOf<T>::Type;
  using P = Pack<T, 16 / sizeof(T) < 4 ? 16 / sizeof(T) : 4>;
  static constexpr int kMost = kMostFeatures;
  int count;
  Features<Sum> maps;

  __device__ Sum at(const Pixel& pixel, int i) const { return maps.features[i * maps.stride + pixel.within]; }
};

struct MergeWeights {
  double rate;
  __device__ void operator()(WeightSums& sums, const WeightSums& part) const { merge(sums, part, rate); }
};

template <class T, class What>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    weights_kernel(const T* heatmaps, MapLayout layout, Tiling tiling, What features,
                   typename SumOf<T>::Type rate, bool sigmoid, WeightSums* partial) {
  using Sum = typename SumOf<T>::Type;
  using P = typename What::P;
  __shared__ WeightSums sums[Tiling::kThreads];
  const Tile tile = tile_of_block(tiling, layout.size);
  const T* map = heatmaps + layout.map_offset(tile.map);
  Sum top = sigmoid ? Sum(0) : -Sum(__builtin_huge_val()), total = 0, moments[What::kMost];
#pragma unroll
  for (int f = 0; f < What::kMost; ++f) moments[f] = 0;
  over_tile<P>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    const P values = load_pack<P>(map + layout.line_offset(line.y, line.z) + x, count);
    const Sum lowest = -Sum(__builtin_huge_val());
    if (!sigmoid) {
      Sum highest = lowest;
#pragma unroll
      for (int i = 0; i < P::kSize; ++i) {
        const Sum value = widened(values.values[i]);
        if (i < count && value > highest) highest = value;
      }
      if (highest > top) {
        const Sum shrink = exp2_of_low((top - highest) * rate);
        total *= shrink;
#pragma unroll
        for (int f = 0; f < What::kMost; ++f) moments[f] *= shrink;
        top = highest;
      }
    }
    const Sum shift = top == lowest ? Sum(0) : top;
#pragma unroll
    for (int i = 0; i < P::kSize; ++i) {
      if (i >= count) continue;
      const Sum value = widened(values.values[i]);
      const Sum weight = sigmoid ? sigmoid_weight(value, rate) : softmax_weight(value, rate, shift);
      const Pixel pixel = pixel_at(layout.size, line, x + i);
      total += weight;
#pragma unroll
      for (int f = 0; f < What::kMost; ++f)
        if (f < features.count) moments[f] += weight * features.at(pixel, f);
    }
  });
  WeightSums own{top, total, {}};
#pragma unroll
  for (int f = 0; f < What::kMost; ++f) own.moments[f] = moments[f];
  const WeightSums all = over_block(own, sums, MergeWeights{rate});
  if (thread_id() == 0) partial[tile.index] = all;
}

template <class Sum>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    expectation_kernel(const WeightSums* partial, int64_t per_map, int count, Sum rate, bool sigmoid,
                       Sum* result, Sum* state) {
  __shared__ WeightSums sums[Tiling::kThreads];
  const int64_t map = blockIdx.x;
  const WeightSums nothing{sigmoid ? 0 : -__builtin_huge_val(), 0, {}};
  const WeightSums all = over_tiles(partial + map * per_map, per_map, nothing, sums, MergeWeights{rate});
  if (thread_id() < count) result[map * count + thread_id()] = Sum(all.moments[thread_id()] / all.total);
  if (thread_id() != 0) return;
  state[2 * map] = Sum(all.top);
  state[2 * map + 1] = Sum(all.total);
}

template <class T, class What>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    expectation_slopes_kernel(const T* heatmaps, MapLayout layout, Tiling tiling, What features,
                              typename SumOf<T>::Type beta, typename SumOf<T>::Type rate, bool sigmoid,
                              const typename SumOf<T>::Type* gradient, const typename SumOf<T>::Type* result,
                              const typename SumOf<T>::Type* state, T* slopes) {
  using Sum = typename SumOf<T>::Type;
  using P = typename What::P;
  const Tile tile = tile_of_block(tiling, layout.size);
  const T* map = heatmaps + layout.map_offset(tile.map);
  T* out = slopes + tile.map * layout.size.pixels();
  const Sum top = state[2 * tile.map], factor = beta / state[2 * tile.map + 1];
  Sum pull[What::kMost];
  double offset = 0;
#pragma unroll
  for (int f = 0; f < What::kMost; ++f) {
    pull[f] = 0;
    if (f >= features.count) continue;
    pull[f] = gradient[tile.map * features.count + f];
    offset += double(pull[f]) * result[tile.map * features.count + f];
  }
  over_tile<P>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    const P values = load_pack<P>(map + layout.line_offset(line.y, line.z) + x, count);
    P pack{};
#pragma unroll
    for (int i = 0; i < P::kSize; ++i) {
      if (i >= count) continue;
      const Sum value = widened(values.values[i]);
      const Sum weight = sigmoid ? sigmoid_slope(value, rate) : softmax_weight(value, rate, top);
      const Pixel pixel = pixel_at(layout.size, line, x + i);
      Sum plane = Sum(-offset);
#pragma unroll
      for (int f = 0; f < What::kMost; ++f)
        if (f < features.count) plane += pull[f] * features.at(pixel, f);
      pack.values[i] = narrowed<T>(weight * factor * plane);
    }
    store_pack(out + line.row * layout.size.width + x, pack, count);
  });
}

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
      // On the centre itself the distance has no direction; it pulls nowhere.
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

struct Higher {
  __device__ void operator()(Peak& best, const Peak& other) const {
    if (other.index >= 0 && is_higher(other.value, other.index, best.value, best.index)) best = other;
  }
};

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    peaks_kernel(const T* heatmaps, MapLayout layout, Tiling tiling, Peak* partial) {
  using Sum = typename SumOf<T>::Type;
  __shared__ Peak sums[Tiling::kThreads];
  const Tile tile = tile_of_block(tiling, layout.size);
  const T* map = heatmaps + layout.map_offset(tile.map);
  Sum highest = 0;
  int64_t at = -1;
  over_tile<Pack<T>>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    const Pack<T> values = load_pack<Pack<T>>(map + layout.line_offset(line.y, line.z) + x, count);
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i >= count) continue;
      const Sum value = widened(values.values[i]);
      const int64_t index = line.row * layout.size.width + x + i;
      if (!is_higher(value, index, highest, at)) continue;
      highest = value;
      at = index;
    }
  });
  const Peak best = over_block(Peak{double(highest), at}, sums, Higher());
  if (thread_id() == 0) partial[tile.index] = best;
}

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, 1)
    refine_kernel(const T* heatmaps, MapLayout layout, const Peak* partial, int64_t per_map,
                  Refinement method, int64_t radius, typename SumOf<T>::Type smooth, int dims,
                  typename SumOf<T>::Type* points, int64_t* pixels, typename SumOf<T>::Type* values) {
  using Sum = typename SumOf<T>::Type;
  __shared__ Peak sums[Tiling::kThreads];
  const int64_t map = blockIdx.x;
  const Peak best = over_tiles(partial + map * per_map, per_map, Peak{0, -1}, sums, Higher());
  if (thread_id() != 0) return;
  const Geometry& size = layout.size;
  const PeakFrame frame{
      {best.index % size.width, best.index / size.width % size.height, best.index / size.width / size.height},
      {size.width, size.height, size.depth},
      dims};
  const T* from = heatmaps + layout.map_offset(map);
  const auto read = [&](int64_t x, int64_t y, int64_t z) {
    return widened(from[z * layout.by_slice + y * layout.by_row + x]);
  };
  Sum point[3];
  refine_peak(method, frame, radius, smooth, Sum(best.value), read, point);
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    if (axis >= dims) continue;
    points[map * dims + axis] = point[axis];
    pixels[map * dims + axis] = frame.pixel[axis];
  }
  values[map] = Sum(best.value);
}

// use(what) with the coordinates or the feature maps.
template <class T, class Use>
void with_features(const Expectation& what, const Geometry& size, const Use& use) {
  using Sum = typename SumOf<T>::Type;
  const int count = int(what.count);
  if (what.features) {
    use(FeatureMaps<T>{count, {static_cast<const Sum*>(what.features), what.count, size.pixels()}});
  } else {
    use(Coordinates<T>{count});
  }
}

}  // namespace

void expectation(Type type, const Maps& heatmaps, const Expectation& what, WeightSums* partial, void* result,
                 void* state, cudaStream_t stream) {
  const Tiling tiling(heatmaps.layout.count, heatmaps.layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    with_features<T>(what, heatmaps.layout.size, [&](auto features) {
      launch(weights_kernel<T, decltype(features)>, tiling.tiles(), stream,
             static_cast<const T*>(heatmaps.data), heatmaps.layout, tiling, features, Sum(rate_of(what.beta)),
             what.sigmoid, partial);
    });
    launch(expectation_kernel<Sum>, tiling.maps, stream, partial, tiling.per_map(), int(what.count),
           Sum(rate_of(what.beta)), what.sigmoid, static_cast<Sum*>(result), static_cast<Sum*>(state));
  });
}

void expectation_backward(Type type, const Maps& heatmaps, const Expectation& what, const void* gradient,
                          const void* result, const void* state, void* slopes, cudaStream_t stream) {
  const Tiling tiling(heatmaps.layout.count, heatmaps.layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    with_features<T>(what, heatmaps.layout.size, [&](auto features) {
      launch(expectation_slopes_kernel<T, decltype(features)>, tiling.tiles(), stream,
             static_cast<const T*>(heatmaps.data), heatmaps.layout, tiling, features, Sum(what.beta),
             Sum(rate_of(what.beta)), what.sigmoid, static_cast<const Sum*>(gradient),
             static_cast<const Sum*>(result), static_cast<const Sum*>(state), static_cast<T*>(slopes));
    });
  });
}

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

void refined_peak(Type type, const Maps& heatmaps, Refinement method, int64_t radius, double smooth,
                  Peak* partial, void* points, int64_t* pixels, void* values, int64_t dims,
                  cudaStream_t stream) {
  const Tiling tiling(heatmaps.layout.count, heatmaps.layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    const T* data = static_cast<const T*>(heatmaps.data);
    launch(peaks_kernel<T>, tiling.tiles(), stream, data, heatmaps.layout, tiling, partial);
    launch(refine_kernel<T>, tiling.maps, stream, data, heatmaps.layout, partial, tiling.per_map(), method,
           radius, Sum(smooth), int(dims), static_cast<Sum*>(points), pixels, static_cast<Sum*>(values));
  });
}

}  // namespace cuda
}  // namespace mmlandmark
