// Sums of a map's weights, their slopes, distances from a point, and the highest pixel.
#pragma once

#include "../../common/weights.h"
#include "lanes.h"

namespace mmlandmark {
namespace {  // every level compiles its own

namespace detail {

// Pixels that a pass looks at before the next one comes back to them, few enough to stay in the first cache.
constexpr int64_t kPart = 2048;
// While a pass computes, memory brings what the first pass over the part after next will wait for.
constexpr int64_t kAhead = 2 * kPart;

// Sums of one block of rows; vectors, so that the order of additions does not depend on the machine.
template <class Sum>
struct WeightLanes {
  Lanes<Sum> total, x, y, z;
};

template <class T>
MML_INLINE const T* start_of(const T* map, int64_t row, const RowRange& rows) {
  return map + row / rows.height * rows.by_slice + row % rows.height * rows.by_row;
}

// The highest number of a block of rows, and a sum that is NaN where one of them is NaN or infinite, else 0.
template <class Sum>
struct Height {
  Sum highest, strange;
};
template <class T, class Sum>
MML_INLINE Height<Sum> height_of(const T* map, const RowRange& rows) {
  using V = Lanes<Sum>;
  V top = V{} - Sum(__builtin_inf()), strange{};
  const auto higher = [](const V& one, const V& other) { return one > other ? one : other; };
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* values = start_of(map, row, rows);
    int64_t x = 0;
    // Four vectors at once: a maximum would wait for the one before. Their sum may overflow, which only makes
    // them look strange.
    for (constexpr int64_t kNext = kLanes<Sum>; x + 4 * kNext <= rows.width; x += 4 * kNext) {
      const V a = load_lanes(values + x), b = load_lanes(values + x + kNext),
              c = load_lanes(values + x + 2 * kNext), d = load_lanes(values + x + 3 * kNext);
      top = higher(higher(higher(a, b), higher(c, d)), top);
      strange += (a + b + c + d) * Sum(0);
    }
    const auto raise = [&](const V& value, const V& known) {
      top = higher(known, top);
      strange += value * Sum(0);
    };
    over_row<Sum>(
        x, rows.width, [&](int64_t x) { raise(load_lanes(values + x), load_lanes(values + x)); },
        [&](int64_t x, int64_t count) {
          const V value = load_some<Sum>(values + x, count);
          raise(value, counting_from<V>(0) < V{} + Sum(count) ? value : top);
        });
  }
  return {largest_of(top), Sum(sum_of(strange))};
}

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

// The plane of a row, from coordinates or from features, added up into scratch where there are features.
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
  // Some rows at a time; when they raise the maximum, what was summed before is scaled down to it.
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

namespace detail {

// Distance of every pixel of a row from the centre, and what the row adds to it.
template <class Sum>
struct RowDistance {
  Sum center, factor, rest;

  MML_INLINE Lanes<Sum> along(int64_t x) const {
    return (counting_from<Lanes<Sum>>(Sum(x)) - center) * factor;
  }
  MML_INLINE Lanes<Sum> at(int64_t x) const {
    const Lanes<Sum> d = along(x);
    return square_root(Lanes<Sum>(d * d + rest));
  }
};

template <class Sum>
MML_INLINE RowDistance<Sum> row_distance(int64_t row, const RowRange& rows, const DistanceFrame& frame,
                                         double& dy, double& dz) {
  dy = (double(row % rows.height) - frame.center[1]) * frame.factors[1];
  dz = (double(row / rows.height) - frame.center[2]) * frame.factors[2];
  return {Sum(frame.center[0]), Sum(frame.factors[0]), Sum(dy * dy + dz * dz)};
}

}  // namespace detail

template <class T, class Sum>
void distance_sums(const T* map, const RowRange& rows, const DistanceFrame& frame, DistanceSums& sums) {
  using V = Lanes<Sum>;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    double dy, dz;
    const auto distance = detail::row_distance<Sum>(row, rows, frame, dy, dz);
    const T* values = detail::start_of(map, row, rows);
    V mass{}, moment{};
    const auto add = [&](const V& value, int64_t x) {
      mass += value;
      moment += value * distance.at(x);
    };
    over_row<Sum>(
        0, rows.width, [&](int64_t x) { add(load_lanes(values + x), x); },
        [&](int64_t x, int64_t count) { add(load_some<Sum>(values + x, count), x); });
    sums.mass += sum_of(mass);
    sums.moment += sum_of(moment);
  }
}

template <class T, class Sum>
void distance_slopes(const T* map, const RowRange& rows, const DistanceFrame& frame, Sum mean, Sum factor,
                     T* slopes, double center[3]) {
  using V = Lanes<Sum>;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    double dy, dz;
    const auto distance = detail::row_distance<Sum>(row, rows, frame, dy, dz);
    const T* values = detail::start_of(map, row, rows);
    T* out = slopes + row * rows.width;
    V pull{}, pull_along{};
    const auto step = [&](const V& value, int64_t x) {
      const V d = distance.at(x);
      // On the centre itself the distance has no direction; it pulls nowhere.
      const V direction = d > V{} ? value / d : V{};
      pull += direction;
      pull_along += direction * distance.along(x);
      return V((d - mean) * factor);
    };
    over_row<Sum>(
        0, rows.width, [&](int64_t x) { store_lanes(out + x, step(load_lanes(values + x), x)); },
        [&](int64_t x, int64_t count) {
          store_some(out + x, step(load_some<Sum>(values + x, count), x), count);
        });
    const double all = sum_of(pull);
    center[0] -= factor * frame.factors[0] * sum_of(pull_along);
    center[1] -= factor * frame.factors[1] * dy * all;
    center[2] -= factor * frame.factors[2] * dz * all;
  }
}

template <class T, class Sum>
Sum single_element(const T* pixel) {
  return load_some<Sum>(pixel, 1)[0];
}

namespace detail {

// The first pixel of a row that is as high as that; the row's width where there is none.
template <class T, class Sum>
MML_INLINE int64_t first_as_high(const T* values, int64_t width, Sum height) {
  using V = Lanes<Sum>;
  typename Element<V>::Integer any{};
  int64_t x = 0;
  for (; x + kLanes<Sum> <= width; x += kLanes<Sum>) any |= load_lanes(values + x) == V{} + height;
  bool found = x < width;
  for (int64_t i = 0; i < kLanes<Sum>; ++i) found |= any[i] != 0;
  if (!found) return width;
  for (x = 0; x < width; ++x)
    if (single_element<T, Sum>(values + x) == height) return x;
  return width;
}

}  // namespace detail

template <class T, class Sum>
void highest_pixel(const T* map, const RowRange& rows, Peak& peak) {
  const auto height = detail::height_of<T, Sum>(map, rows);
  if (height.strange == height.strange) {
    if (!(height.highest > peak.value) && peak.index >= 0) return;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t x =
          detail::first_as_high<T, Sum>(detail::start_of(map, row, rows), rows.width, height.highest);
      if (x == rows.width) continue;
      peak = {double(height.highest), row * rows.width + x};
      return;
    }
    return;
  }
  // With a NaN, which counts as the highest, or an infinity: one by one.
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* values = detail::start_of(map, row, rows);
    for (int64_t x = 0; x < rows.width; ++x) {
      const double value = single_element<T, Sum>(values + x);
      if (value > peak.value || value != value || peak.index < 0) peak = {value, row * rows.width + x};
      if (value != value) return;
    }
  }
}

}  // namespace
}  // namespace mmlandmark
