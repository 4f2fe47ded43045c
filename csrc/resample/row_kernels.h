// The inner loops of the resampler, one table of functions per level of instructions; see rows.h for the
// loops.
//
// Without headers of torch: the loops are compiled once per level, which inline functions of a library must
// not be.
#pragma once

#include <cstdint>

#include "../common/half.h"
#include "../common/layout.h"

namespace mmlandmark {

enum class Interpolation : int { kLinear, kNearest };
enum class Border : int { kConstant, kReplicate, kReflect };

// One axis of the volume: its side, and the distance of neighbours in elements.
struct SourceAxis {
  int64_t side, stride;
};

// What is the same for all rows of a result. Axes are x, y, z.
struct ResampleFrame {
  SourceAxis axes[3];
  double matrix[3][4];  // from pixels of the result to those of the volume
  int64_t width;        // of the result
  const float* nodes;   // displacements (3, Lz, Ly, Lx) of every step-th pixel of the result, or null
  int64_t node_size[3], step[3];
  Interpolation interpolation;
  Border border;
  float value;  // of the border
};

// Memory of one thread.
struct ResampleScratch {
  float* position[3];   // (width,) each
  int32_t* place[3];    // (width,) each: the lower neighbour
  float* displacement;  // (node_size[0],)
  float* blend;         // (axes[0].side + 1,)
  float* values;        // (width,)
};

template <class T>
using ResampleRow = void (*)(const T* volume, const ResampleFrame&, int64_t y, int64_t z,
                             const ResampleScratch&, T* row);

struct ResampleTable {
  ResampleRow<uint8_t> uint8;
  ResampleRow<int16_t> int16;
  ResampleRow<uint16_t> uint16;
  ResampleRow<HalfBits> float16;
  ResampleRow<float> float32;
};

const ResampleTable& base_resample_table();
#if defined(__x86_64__)
const ResampleTable& avx2_resample_table();
const ResampleTable& avx512_resample_table();
#endif

}  // namespace mmlandmark
