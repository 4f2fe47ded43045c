// The highest number of a block of rows.
#pragma once

#include "lanes.h"

namespace mmlandmark {
namespace {  // every level compiles its own

namespace detail {

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
    // Four vectors at once, since a maximum waits for the one before. An overflow of their sum is harmless:
    // it only leads to the slow search.
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

}  // namespace detail

}  // namespace
}  // namespace mmlandmark
