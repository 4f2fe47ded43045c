// The interface to torch: one function per kernel, with raw pointers and a stream.
//
// Pointers are to memory of the device. `Sum` pointers are float, or double for double maps. A launch returns
// at once; cudaGetLastError() returns its error, if any.
#pragma once

#include "../common/layout.h"
#include "../common/peak_shape.h"
#include "../common/refined_peak.h"

#if defined(MMLANDMARK_CUDA_SHIM)
#include MMLANDMARK_CUDA_SHIM
#else
#include <cuda_runtime.h>
#define MMLANDMARK_CUDA_THREADS 256
#endif

namespace mmlandmark {
namespace cuda {

enum class Type : int { kFloat = 0, kDouble = 1, kBFloat16 = 2, kHalf = 3 };

// Tiles of maps, one block of threads each. They depend on the size of the maps alone, and so do results.
struct Tiling {
  static constexpr int kThreads = MMLANDMARK_CUDA_THREADS, kColumns = 1024, kRows = 512, kPixels = 16384;

  // Blocks that share a processor, which leaves 128 registers a thread: enough for every kernel.
  static constexpr int kBlocks = 2;

  int64_t maps, columns_per_tile, rows_per_tile, column_tiles, row_tiles;

  Tiling(int64_t count, const Geometry& size) : maps(count) {
    columns_per_tile = size.width < kColumns ? size.width : kColumns;
    rows_per_tile = kPixels / columns_per_tile < kRows ? kPixels / columns_per_tile : kRows;
    column_tiles = (size.width + columns_per_tile - 1) / columns_per_tile;
    row_tiles = (size.rows() + rows_per_tile - 1) / rows_per_tile;
  }
  MML_INLINE int64_t per_map() const { return column_tiles * row_tiles; }
  MML_INLINE int64_t tiles() const { return maps * per_map(); }
};

struct Maps {
  const void* data;
  MapLayout layout;
};

// Points (maps, dims), widths (maps, axes) and factors (maps); see Widths for the axes.
struct Landmarks {
  const void *points, *sigma, *factor;
  int64_t dims, axes;
};

template <class Sum>
Widths<Sum> widths_of(const Landmarks& landmarks) {
  return {static_cast<const Sum*>(landmarks.sigma), landmarks.axes};
}

// partial: one double per tile. slopes: contiguous, or null.
void ewc_gaussian(Type type, const Maps& pred, const Landmarks& landmarks, double log_alpha, void* slopes,
                  double* partial, void* losses, cudaStream_t stream);
void ewc_target(Type type, const Maps& pred, const void* target, const void* factor, double log_alpha,
                void* slopes, double* partial, void* losses, cudaStream_t stream);

void draw(Type type, const Landmarks& landmarks, PeakShape shape, void* maps, const MapLayout& layout,
          cudaStream_t stream);
// partial: one HeatmapSlopes per tile.
void draw_backward(Type type, const Maps& gradient, const Landmarks& landmarks, PeakShape shape,
                   HeatmapSlopes* partial, void* by_points, void* by_sigma, void* by_height,
                   cudaStream_t stream);

struct Expectation {
  const void* features;  // (count, *S), or null for the coordinates
  int64_t count;
  double beta;
  bool sigmoid;
};
// partial: one WeightSums per tile. state (maps, 2): maximum of h and sum of the weights.
void expectation(Type type, const Maps& heatmaps, const Expectation& what, WeightSums* partial, void* result,
                 void* state, cudaStream_t stream);
void expectation_backward(Type type, const Maps& heatmaps, const Expectation& what, const void* gradient,
                          const void* result, const void* state, void* slopes, cudaStream_t stream);

struct Centers {
  const void* points;
  double factors[3];
  int64_t dims;
};
void distance(Type type, const Maps& heatmaps, const Centers& centers, DistanceSums* partial, void* result,
              void* mass, cudaStream_t stream);
// partial: three doubles per tile.
void distance_backward(Type type, const Maps& heatmaps, const Centers& centers, const void* gradient,
                       const void* result, const void* mass, void* slopes, double* partial, void* by_centers,
                       cudaStream_t stream);

void refined_peak(Type type, const Maps& heatmaps, Refinement method, int64_t radius, double smooth,
                  Peak* partial, void* points, int64_t* pixels, void* values, int64_t dims,
                  cudaStream_t stream);

}  // namespace cuda
}  // namespace mmlandmark
