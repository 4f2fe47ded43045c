// The highest pixel of rows of one map.
#pragma once

#include "height.h"

namespace mmlandmark {
namespace {  // every level compiles its own

template <class T, class Sum>
Sum single_element(const T* pixel) {
  return load_some<Sum>(pixel, 1)[0];
}

namespace detail {

// The first pixel of a row of this height; the width of the row where there is none.
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
  // With a NaN, which counts as the highest, or an infinity: pixel by pixel.
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
