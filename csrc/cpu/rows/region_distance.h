// Distances of rows of one map from a point, and their slopes.
#pragma once

#include "height.h"

namespace mmlandmark {
namespace {  // every level compiles its own

namespace detail {

// Distance of every pixel of a row from the centre; `rest` is the squared distance of the row.
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
      // At the centre itself the distance has no direction and no gradient.
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

}  // namespace
}  // namespace mmlandmark
