// Shapes of peaks. All but the disc are the product of one profile per axis.
#pragma once

#include "layout.h"

namespace mmlandmark {

// Numbered as in mmlandmark/ops/gaussian_heatmap.py.
enum class PeakShape : int { kGaussian = 0, kLaplace = 1, kDisc = 2 };

// Value at a pixel, and its derivatives by the centre and by sigma.
template <class Number>
struct Profile {
  Number value, by_center, by_sigma;
};

template <class Number>
MML_INLINE Number profile_value(PeakShape shape, Number pixel, Number center, Number sigma) {
  const Number d = (pixel - center) / sigma;
  const Number exponent = shape == PeakShape::kGaussian ? Number(-0.5) * d * d : (d < 0 ? d : -d);
  return without_tiny(exp_of(exponent));
}

template <class Number>
MML_INLINE Profile<Number> profile_with_slopes(PeakShape shape, Number pixel, Number center, Number sigma) {
  const Number value = profile_value(shape, pixel, center, sigma);
  if (value == 0) return {0, 0, 0};  // far away, where d may be infinite
  const Number d = (pixel - center) / sigma, slope = value / sigma;
  if (shape == PeakShape::kGaussian) return {value, slope * d, slope * d * d};
  const Number sign = d > 0 ? Number(1) : (d < 0 ? Number(-1) : Number(0));
  return {value, slope * sign, slope * sign * d};
}

// A disc holds the pixels whose sum of (factor * offset)^2 is at most the bound: factors 1 and a bound of
// sigma^2 with one width, 1 / sigma and 1 with one per axis, which makes it an ellipse.
template <class Sum>
struct Disc {
  Sum center[3], factor[3], bound;

  MML_INLINE Sum along(Sum pixel, int axis) const { return (pixel - center[axis]) * factor[axis]; }
};

template <class Sum>
MML_INLINE Disc<Sum> disc_of(const Sum* points, const Widths<Sum>& sigma, int64_t map, int dims) {
  Disc<Sum> disc{{0, 0, 0}, {0, 0, 0}, Sum(1)};
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    if (axis >= dims) continue;
    disc.center[axis] = points[map * dims + axis];
    disc.factor[axis] = sigma.per_axis() ? Sum(1) / sigma.at(map, axis) : Sum(1);
  }
  if (!sigma.per_axis()) disc.bound = sigma.at(map, 0) * sigma.at(map, 0);
  return disc;
}

}  // namespace mmlandmark
