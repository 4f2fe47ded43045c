// Heatmaps drawn row by row from one profile per axis, and gradients by centre and sigma.
#pragma once

#include "lanes.h"

namespace mmlandmark {
namespace {  // every level compiles its own

template <class T, class Sum>
void draw_product(T* map, const RowRange& rows, const Profiles<Sum>& profiles, Sum height) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const Sum depth = profiles.depth[row / rows.height], line = profiles.height[row % rows.height];
    const Sum factor = without_tiny(depth * line);
    T* out = map + row * rows.width;
    // The height comes last, so that a small one does not make the profile count as tiny.
    over_row<Sum>(
        0, rows.width,
        [&](int64_t x) { store_lanes(out + x, load_lanes(profiles.width + x) * factor * height); },
        [&](int64_t x, int64_t count) {
          store_some(out + x, load_lanes(profiles.width + x) * factor * height, count);
        });
  }
}

template <class T, class Sum>
void draw_disc(T* map, const RowRange& rows, const Disc<Sum>& all, Sum height) {
  using V = Lanes<Sum>;
  const Disc<Sum> disc = all;  // a copy, which the compiler knows that no store to a map changes
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const Sum dy = disc.along(Sum(row % rows.height), 1), dz = disc.along(Sum(row / rows.height), 2);
    const Sum rest = dy * dy + dz * dz;
    const auto value = [&](int64_t x) {
      const V dx = (counting_from<V>(Sum(x)) - disc.center[0]) * disc.factor[0];
      const V squared = dx * dx + rest;
      return squared <= V{} + disc.bound ? V{} + height : V{};
    };
    T* out = map + row * rows.width;
    over_row<Sum>(
        0, rows.width, [&](int64_t x) { store_lanes(out + x, value(x)); },
        [&](int64_t x, int64_t count) { store_some(out + x, value(x), count); });
  }
}

namespace detail {

template <bool kPerAxis, class T, class Sum>
MML_INLINE void product_slopes(const T* gradient, const RowRange& rows, const ProfileSlopes<Sum>& profiles,
                               HeatmapSlopes& sums) {
  using V = Lanes<Sum>;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t z = row / rows.height, y = row % rows.height;
    const T* values = gradient + z * rows.by_slice + y * rows.by_row;
    V by_value{}, by_center{}, by_sigma{};
    const auto add = [&](const V& upstream, int64_t x) {
      by_value += upstream * load_lanes(profiles.value.width + x);
      by_center += upstream * load_lanes(profiles.by_center.width + x);
      by_sigma += upstream * load_lanes(profiles.by_sigma.width + x);
    };
    over_row<Sum>(
        0, rows.width, [&](int64_t x) { add(load_lanes(values + x), x); },
        [&](int64_t x, int64_t count) { add(load_some<Sum>(values + x, count), x); });
    const double value = sum_of(by_value), depth = profiles.value.depth[z], height = profiles.value.height[y];
    sums.center[0] += sum_of(by_center) * height * depth;
    sums.center[1] += value * profiles.by_center.height[y] * depth;
    sums.center[2] += value * height * profiles.by_center.depth[z];
    if (kPerAxis) {
      sums.sigma[0] += sum_of(by_sigma) * height * depth;
      sums.sigma[1] += value * profiles.by_sigma.height[y] * depth;
      sums.sigma[2] += value * height * profiles.by_sigma.depth[z];
    } else {
      sums.sigma[0] += sum_of(by_sigma) * height * depth + value * profiles.by_sigma.height[y] * depth +
                       value * height * profiles.by_sigma.depth[z];
    }
    sums.height += value * height * depth;
  }
}

}  // namespace detail

template <class T, class Sum>
void product_slopes(const T* gradient, const RowRange& rows, const ProfileSlopes<Sum>& profiles,
                    HeatmapSlopes& sums) {
  if (profiles.per_axis)
    detail::product_slopes<true>(gradient, rows, profiles, sums);
  else
    detail::product_slopes<false>(gradient, rows, profiles, sums);
}

}  // namespace
}  // namespace mmlandmark
