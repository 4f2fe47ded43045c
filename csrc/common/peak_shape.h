// The shapes a landmark is drawn in, along one axis: a map is the product of one profile per axis.
#pragma once

#include "math.h"

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

}  // namespace mmlandmark
