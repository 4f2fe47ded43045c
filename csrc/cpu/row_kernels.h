// The inner loops on the CPU, one table of functions per level of instructions; see rows/ for the loops.
//
// Without headers of torch: the loops are compiled once per level, which inline functions of a library must
// not be.
#pragma once

#include <cstdint>

#include "../common/peak_shape.h"

namespace mmlandmark {

// Rows [begin, end) of one map of `height` rows per slice; strides in elements.
struct RowRange {
  int64_t begin, end, height, width, by_slice, by_row;
};

// One factor per slice, row and column; the columns are padded by kPadding zeros.
template <class Sum>
struct Profiles {
  const Sum* depth;
  const Sum* height;
  const Sum* width;
};
constexpr int64_t kPadding = 16;

template <class Sum>
struct GaussianTarget {
  Profiles<Sum> profiles;
  Sum center_x, sigma_x;
};

template <class Sum>
struct ProfileSlopes {
  Profiles<Sum> value, by_center, by_sigma;
  bool per_axis;  // see Widths
};

template <class T, class Sum>
struct RowKernels {
  // Sum of the errors against a Gaussian; writes gain * slope to slopes, contiguous, unless it is null.
  double (*ewc_gaussian)(const T* map, const RowRange&, const GaussianTarget<Sum>&, Sum log_alpha, Sum gain,
                         T* slopes);
  // The same against a contiguous target.
  double (*ewc_target)(const T* map, const RowRange&, const T* target, Sum log_alpha, Sum gain, T* slopes);

  void (*draw_product)(T* map, const RowRange&, const Profiles<Sum>&, Sum height);
  void (*draw_disc)(T* map, const RowRange&, const Disc<Sum>&, Sum height);
  void (*product_slopes)(const T* gradient, const RowRange&, const ProfileSlopes<Sum>&, HeatmapSlopes&);

  void (*softmax_sums)(const T* map, const RowRange&, Sum rate, const Features<Sum>&, Sum* scratch,
                       WeightSums&);
  void (*sigmoid_sums)(const T* map, const RowRange&, Sum rate, const Features<Sum>&, Sum* scratch,
                       WeightSums&);
  // slopes = factor * weight * plane, with weight 2^(rate * (h - top)), or s (1 - s) for the sigmoid, where
  // rate > 0.
  void (*softmax_slopes)(const T* map, const RowRange&, Sum rate, Sum top, Sum factor, const Features<Sum>&,
                         const FeaturePlane&, Sum* scratch, T* slopes);
  void (*sigmoid_slopes)(const T* map, const RowRange&, Sum rate, Sum factor, const Features<Sum>&,
                         const FeaturePlane&, Sum* scratch, T* slopes);

  void (*distance_sums)(const T* map, const RowRange&, const DistanceFrame&, DistanceSums&);
  // slopes = factor * (distance - mean); adds the map's pull on the centre to `center`.
  void (*distance_slopes)(const T* map, const RowRange&, const DistanceFrame&, Sum mean, Sum factor,
                          T* slopes, double center[3]);

  void (*peak)(const T* map, const RowRange&, Peak&);
  Sum (*element)(const T* pixel);
};

struct KernelTable {
  RowKernels<float, float> float32;
  RowKernels<double, double> float64;
  RowKernels<BFloat16Bits, float> bfloat16;
  RowKernels<HalfBits, float> float16;
};

// The best table this processor can run. MMLANDMARK_CPU_LEVEL=base|avx2|avx512 asks for a lower one.
const KernelTable& kernel_table();
const char* cpu_level();

}  // namespace mmlandmark
