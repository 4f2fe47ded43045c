// Sums of a map's weights, and their slopes.
#pragma once

#include "../../common/weights.h"
#include "height.h"

namespace mmlandmark {
namespace {  // every level compiles its own

namespace detail {

// Pixels per pass, few enough to stay in the first cache until the next pass reads them again.
constexpr int64_t kPart = 2048;
// Distance of prefetches: the part after next.
constexpr int64_t kAhead = 2 * kPart;

// Sums of one block of rows, as vectors: the order of additions does not depend on the number of threads.
template <class Sum>
struct WeightLanes {
  Lanes<Sum> total, x, y, z;
};

// scale * (weights of the row) . (one map of features).
template <class Sum>
MML_INLINE double row_moment(const Sum* weights, const Sum* feature, int64_t width) {
  using V = Lanes<Sum>;
  V sum{};
  over_row<Sum>(
      0, width, [&](int64_t x) { sum += load_lanes(weights + x) * load_lanes(feature + x); },
      [&](int64_t x, int64_t count) {
        sum += load_some<Sum>(weights + x, count) * load_some<Sum>(feature + x, count);
      });
  return sum_of(sum);
}

// Sums of a row's weights and of weight * column; kKeep leaves the weights in scratch.
template <bool kKeep, class T, class Sum, class Weight>
MML_INLINE void add_weights(const T* values, int64_t width, const Weight& weight, Sum* scratch,
                            Lanes<Sum>& total, Lanes<Sum>& along) {
  using V = Lanes<Sum>;
  V column = counting_from<V>(0);
  const auto add = [&](const V& w, int64_t x) {
    total += w;
    along += w * column;
    column += Sum(kLanes<Sum>);
    if (kKeep) store_lanes(scratch + x, w);
  };
  over_row<Sum>(
      0, width,
      [&](int64_t x) {
        __builtin_prefetch(values + x + kAhead);
        add(weight(load_lanes(values + x)), x);
      },
      [&](int64_t x, int64_t count) {
        const V w = weight(load_some<Sum>(values + x, count));
        add(counting_from<V>(0) < V{} + Sum(count) ? w : V{}, x);
      });
}

// Weights of a row, from the map's values: V weight(V value).
template <class T, class Sum, class Weight>
MML_INLINE void add_row(const T* values, int64_t row, const RowRange& rows, const Features<Sum>& features,
                        const Weight& weight, Sum* scratch, WeightLanes<Sum>& lanes, double* moments) {
  using V = Lanes<Sum>;
  V total{}, along{};
  if (features.features)
    add_weights<true>(values, rows.width, weight, scratch, total, along);
  else
    add_weights<false>(values, rows.width, weight, scratch, total, along);
  lanes.total += total;
  lanes.x += along;
  lanes.y += total * Sum(row % rows.height);
  lanes.z += total * Sum(row / rows.height);
  if (features.features)
    for (int64_t i = 0; i < features.count; ++i)
      moments[i] +=
          row_moment(scratch, features.features + i * features.stride + row * rows.width, rows.width);
}

template <class Sum>
MML_INLINE void finish(const WeightLanes<Sum>& lanes, const Features<Sum>& features, WeightSums& sums) {
  sums.total = sum_of(lanes.total);
  if (features.features) return;
  sums.moments[0] = sum_of(lanes.x);
  sums.moments[1] = sum_of(lanes.y);
  sums.moments[2] = sum_of(lanes.z);
}

// The plane of a row, from coordinates, or from features, in which case scratch holds it.
template <class Sum>
struct RowPlane {
  Sum start, step;
  const Sum* values;

  // `column` is x and the columns after it.
  MML_INLINE Lanes<Sum> at(int64_t x, const Lanes<Sum>& column) const {
    return values ? load_lanes(values + x) : column * step + start;
  }
};

template <class Sum>
MML_INLINE RowPlane<Sum> row_plane(int64_t row, const RowRange& rows, const Features<Sum>& features,
                                   const FeaturePlane& plane, Sum* scratch) {
  if (!features.features) {
    const double start =
        plane.slopes[1] * double(row % rows.height) + plane.slopes[2] * double(row / rows.height);
    return {Sum(start - plane.offset), Sum(plane.slopes[0]), nullptr};
  }
  for (int64_t x = 0; x < rows.width; ++x) {
    double value = -plane.offset;
    for (int64_t i = 0; i < features.count; ++i)
      value += plane.slopes[i] * features.features[i * features.stride + row * rows.width + x];
    scratch[x] = Sum(value);
  }
  return {0, 0, scratch};
}

template <class T, class Sum, class Weight>
MML_INLINE void write_slopes(const T* map, const RowRange& rows, const Features<Sum>& features,
                             const FeaturePlane& plane, const Weight& weight, Sum* scratch, T* slopes) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* values = detail::start_of(map, row, rows);
    T* out = slopes + row * rows.width;
    const auto tilt = row_plane(row, rows, features, plane, scratch);
    Lanes<Sum> column = counting_from<Lanes<Sum>>(0);
    const auto slope = [&](const Lanes<Sum>& value, int64_t x) {
      const Lanes<Sum> at = tilt.at(x, column);
      column += Sum(kLanes<Sum>);
      return Lanes<Sum>(weight(value) * at);
    };
    over_row<Sum>(
        0, rows.width, [&](int64_t x) { store_lanes(out + x, slope(load_lanes(values + x), x)); },
        [&](int64_t x, int64_t count) {
          store_some(out + x, slope(load_some<Sum>(values + x, count), x), count);
        });
  }
}

}  // namespace detail

// One pass over memory.
template <class T, class Sum>
void softmax_sums(const T* map, const RowRange& rows, Sum rate, const Features<Sum>& features, Sum* scratch,
                  WeightSums& sums) {
  using V = Lanes<Sum>;
  detail::WeightLanes<Sum> lanes{};
  for (int64_t i = 0; i < kMostFeatures; ++i) sums.moments[i] = 0;
  // Some rows at a time; when they raise the maximum, earlier sums are scaled down to it.
  const int64_t some = rows.width < detail::kPart ? detail::kPart / rows.width : 1;
  Sum top = -Sum(__builtin_inf());
  for (RowRange part = rows; part.begin < rows.end; part.begin = part.end) {
    part.end = part.begin + some < rows.end ? part.begin + some : rows.end;
    const Sum highest = detail::height_of<T, Sum>(map, part).highest;
    if (highest > top) {
      const Sum shrink = exp2_of_low((top - highest) * rate);
      lanes.total *= shrink, lanes.x *= shrink, lanes.y *= shrink, lanes.z *= shrink;
      for (int64_t i = 0; i < kMostFeatures; ++i) sums.moments[i] *= shrink;
      top = highest;
    }
    const Sum shift = top == -Sum(__builtin_inf()) ? Sum(0) : top;
    const auto weight = [&](const V& value) { return softmax_weight(value, rate, shift); };
    for (int64_t row = part.begin; row < part.end; ++row) {
      const T* values = detail::start_of(map, row, rows);
      detail::add_row(values, row, rows, features, weight, scratch, lanes, sums.moments);
    }
  }
  sums.top = top;
  detail::finish(lanes, features, sums);
}

template <class T, class Sum>
void sigmoid_sums(const T* map, const RowRange& rows, Sum rate, const Features<Sum>& features, Sum* scratch,
                  WeightSums& sums) {
  using V = Lanes<Sum>;
  detail::WeightLanes<Sum> lanes{};
  for (int64_t i = 0; i < kMostFeatures; ++i) sums.moments[i] = 0;
  const auto weight = [&](const V& value) { return sigmoid_weight(value, rate); };
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* values = detail::start_of(map, row, rows);
    detail::add_row(values, row, rows, features, weight, scratch, lanes, sums.moments);
  }
  sums.top = 0;
  detail::finish(lanes, features, sums);
}

template <class T, class Sum>
void softmax_slopes(const T* map, const RowRange& rows, Sum rate, Sum top, Sum factor,
                    const Features<Sum>& features, const FeaturePlane& plane, Sum* scratch, T* slopes) {
  using V = Lanes<Sum>;
  const auto weight = [&](const V& value) { return softmax_weight(value, rate, top) * factor; };
  detail::write_slopes(map, rows, features, plane, weight, scratch, slopes);
}

template <class T, class Sum>
void sigmoid_slopes(const T* map, const RowRange& rows, Sum rate, Sum factor, const Features<Sum>& features,
                    const FeaturePlane& plane, Sum* scratch, T* slopes) {
  using V = Lanes<Sum>;
  const auto weight = [&](const V& value) { return sigmoid_slope(value, rate) * factor; };
  detail::write_slopes(map, rows, features, plane, weight, scratch, slopes);
}

}  // namespace
}  // namespace mmlandmark
