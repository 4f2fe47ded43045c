// Expectations under a map's weights, on a GPU.
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

// The features of a map, and the pixels that a thread takes at once: with eight of both it would run out of
// registers.
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

}  // namespace cuda
}  // namespace mmlandmark
