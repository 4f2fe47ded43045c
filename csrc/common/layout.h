// The layout of maps in memory, and the structs that kernels exchange. Without torch, for the .cu files.
#pragma once

#include <cstdint>

#include "weights.h"

namespace mmlandmark {

// 16-bit numbers in memory.
struct BFloat16Bits {
  uint16_t bits;
};
struct HalfBits {
  uint16_t bits;
};

// The type of sums over maps of T.
template <class T>
struct SumOf {
  using Type = float;
};
template <>
struct SumOf<double> {
  using Type = double;
};

struct Geometry {
  int64_t depth = 1, height = 1, width = 1;
  MML_INLINE int64_t rows() const { return depth * height; }
  MML_INLINE int64_t pixels() const { return rows() * width; }
};

// Numbered maps of depth x height x width, strides in elements. The stride along the width is 1, the others
// are free.
struct MapLayout {
  int64_t count = 0, channels = 1;
  int64_t by_image = 0, by_channel = 0, by_slice = 0, by_row = 0;
  Geometry size;

  MML_INLINE int64_t map_offset(int64_t map) const {
    return map / channels * by_image + map % channels * by_channel;
  }
  MML_INLINE int64_t line_offset(int64_t y, int64_t z) const { return z * by_slice + y * by_row; }
};

// Widths of peaks: one per map, or one per map and axis (x, y[, z]).
template <class Sum>
struct Widths {
  const Sum* values;
  int64_t axes;  // 1, or the dimensions of the map

  MML_INLINE bool per_axis() const { return axes > 1; }
  MML_INLINE Sum at(int64_t map, int64_t axis) const { return values[per_axis() ? map * axes + axis : map]; }
};

// Sums over a map's upstream gradient G: G * dy/dcenter per axis, G * dy/dsigma, G * y. A width that all axes
// share has its slope in sigma[0].
struct HeatmapSlopes {
  double center[3], sigma[3], height;
};

constexpr int64_t kMostFeatures = 8;

// Sums of weights e and of e * feature; with softmax e = 2^(rate * (h - top)), see weights.h.
struct WeightSums {
  double top, total, moments[kMostFeatures];
};

// The features of a spatial expectation: x, y, z where `features` is null, else `count` maps.
template <class Sum>
struct Features {
  const Sum* features;
  int64_t count, stride;
};

// The gradient of an expectation is the weight times the plane t(p) = slopes . f(p) - offset.
struct FeaturePlane {
  double slopes[kMostFeatures], offset;
};

struct DistanceSums {
  double mass, moment;
};

// Pixel distances are |factors * (p - center)|, (x, y, z).
struct DistanceFrame {
  double center[3], factors[3];
};

struct Peak {
  double value;
  int64_t index;  // of the first maximum; NaN counts as the largest
};

// Add the sums of another part of the map; both are scaled to the larger maximum.
MML_INLINE void merge(WeightSums& sums, const WeightSums& part, double rate) {
  const double top = part.top > sums.top ? part.top : sums.top;
  // Compare first: minus infinity minus itself is NaN.
  const double own = sums.top == top ? 1 : exp2_of_low((sums.top - top) * rate);
  const double other = part.top == top ? 1 : exp2_of_low((part.top - top) * rate);
  sums.top = top;
  sums.total = sums.total * own + part.total * other;
  for (int64_t i = 0; i < kMostFeatures; ++i)
    sums.moments[i] = sums.moments[i] * own + part.moments[i] * other;
}

// Whether a pixel is higher than the highest one so far; the index of that is -1 where there is none yet.
template <class Number>
MML_INLINE bool is_higher(Number value, int64_t index, Number than, int64_t than_index) {
  if (than_index < 0) return true;
  const bool strange = value != value, had_strange = than != than;
  if (strange || had_strange) return strange && (!had_strange || index < than_index);
  return value > than || (value == than && index < than_index);
}

}  // namespace mmlandmark
