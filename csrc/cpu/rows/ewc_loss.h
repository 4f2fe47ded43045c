// Exponential Weighted Center error of rows of one map, and its slope, from one read of the map.
#pragma once

#include "../../common/ewc_loss.h"
#include "lanes.h"

namespace mmlandmark {
namespace {  // every level compiles its own

namespace detail {

template <bool kWeighted, class V, class Number>
MML_INLINE void ewc_step(V prediction, V target, Number log_alpha, V& total, V& slope) {
  V error;
  ewc_pixel(prediction, target, kWeighted ? ewc_weight(target, log_alpha) : V{} + Number(1), error, slope);
  total += error;
}

// One stretch of a row, full vectors only; returns where it stopped.
template <bool kWeighted, class T, class Sum>
MML_INLINE int64_t ewc_stretch(const T* map, const Sum* profile, Sum factor, Sum log_alpha, Sum gain,
                               T* slopes, int64_t x, int64_t end, Lanes<Sum>& total) {
  for (; x + kLanes<Sum> <= end; x += kLanes<Sum>) {
    Lanes<Sum> slope;
    ewc_step<kWeighted>(load_lanes(map + x), load_lanes(profile + x) * factor, log_alpha, total, slope);
    if (slopes) store_lanes(slopes + x, slope * gain);
  }
  return x;
}

// Columns whose weight differs from 1: [begin, end), begin on a vector's edge.
struct Columns {
  int64_t begin, end;
};
template <class Sum>
MML_INLINE Columns weighted_columns(Sum factor, Sum log_alpha, Sum center, Sum sigma, int64_t width) {
  const double size = __builtin_fabs(double(log_alpha)) * factor / Limits<Sum>::kNegligible;
  if (!(size > 1)) return {width, width};
  const double reach = sigma * root_of(2 * log_of(size));
  const double low = floor_of(center - reach), high = ceiling_of(center + reach) + 1;
  const int64_t begin = low > 0 ? (low < width ? int64_t(low) : width) : 0;
  const int64_t end = high > 0 ? (high < width ? int64_t(high) : width) : 0;
  return {begin / kLanes<Sum> * kLanes<Sum>, end};
}

}  // namespace detail

template <class T, class Sum>
double ewc_gaussian(const T* map, const RowRange& rows, const GaussianTarget<Sum>& target, Sum log_alpha,
                    Sum gain, T* slopes) {
  using V = Lanes<Sum>;
  double total = 0;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t slice = row / rows.height, line = row % rows.height;
    const T* values = map + slice * rows.by_slice + line * rows.by_row;
    T* out = slopes ? slopes + row * rows.width : nullptr;
    const Sum* profile = target.profiles.width;
    const Sum factor = without_tiny(target.profiles.depth[slice] * target.profiles.height[line]);
    const auto near =
        detail::weighted_columns(factor, log_alpha, target.center_x, target.sigma_x, rows.width);
    V sum{};
    int64_t x = detail::ewc_stretch<false>(values, profile, factor, log_alpha, gain, out, int64_t(0),
                                           near.begin, sum);
    // A weighted stretch may extend to the end of its last vector, where the weight is 1 to rounding.
    const int64_t end = near.end + kLanes<Sum> - 1 < rows.width ? near.end + kLanes<Sum> - 1 : rows.width;
    x = detail::ewc_stretch<true>(values, profile, factor, log_alpha, gain, out, x,
                                  near.begin < near.end ? end : x, sum);
    x = detail::ewc_stretch<false>(values, profile, factor, log_alpha, gain, out, x, rows.width, sum);
    if (x < rows.width) {
      const int64_t count = rows.width - x;
      V slope;
      V part{};
      detail::ewc_step<true>(load_some<Sum>(values + x, count), load_lanes(profile + x) * factor, log_alpha,
                             part, slope);
      if (out) store_some(out + x, slope * gain, count);
      sum += part;
    }
    total += sum_of(sum);
  }
  return total;
}

template <class T, class Sum>
double ewc_target(const T* map, const RowRange& rows, const T* target, Sum log_alpha, Sum gain, T* slopes) {
  using V = Lanes<Sum>;
  double total = 0;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* values = map + row / rows.height * rows.by_slice + row % rows.height * rows.by_row;
    const T* truth = target + row * rows.width;
    T* out = slopes ? slopes + row * rows.width : nullptr;
    V sum{};
    over_row<Sum>(
        0, rows.width,
        [&](int64_t x) {
          V slope;
          detail::ewc_step<true>(load_lanes(values + x), load_lanes(truth + x), log_alpha, sum, slope);
          if (out) store_lanes(out + x, slope * gain);
        },
        [&](int64_t x, int64_t count) {
          V slope;
          detail::ewc_step<true>(load_some<Sum>(values + x, count), load_some<Sum>(truth + x, count),
                                 log_alpha, sum, slope);
          if (out) store_some(out + x, slope * gain, count);
        });
    total += sum_of(sum);
  }
  return total;
}

}  // namespace
}  // namespace mmlandmark
