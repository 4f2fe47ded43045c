// The highest pixel of every map and a position between the pixels, on the CPU.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <limits>

#include "../common/refined_peak.h"
#include "blocks.h"

namespace mmlandmark {
namespace {

// Returns refined points (B, K, D), the pixels of the maxima (B, K, D) int64, and their values (B, K).
std::tuple<at::Tensor, at::Tensor, at::Tensor> refined_peak(const at::Tensor& heatmaps, int64_t method,
                                                            int64_t radius, double smooth) {
  check_maps(heatmaps, "heatmaps");
  const at::Tensor maps = with_whole_rows(heatmaps);
  const Blocks blocks(layout_of(maps));
  const int64_t dims = heatmaps.dim() - 2;
  const auto options = heatmaps.options().dtype(accumulate_type(heatmaps.scalar_type()));
  at::Tensor points = at::empty({heatmaps.size(0), heatmaps.size(1), dims}, options);
  at::Tensor pixels = at::empty(points.sizes(), options.dtype(at::kLong));
  at::Tensor values = at::empty({heatmaps.size(0), heatmaps.size(1)}, options);
  std::vector<Peak> partial(blocks.count(), Peak{-std::numeric_limits<double>::infinity(), -1});
  with_kernels(heatmaps.scalar_type(), [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const Geometry& size = blocks.layout.size;
    const T* from = elements<T>(maps);
    blocks.each([&](int64_t block, int64_t map, const RowRange& rows) {
      kernels.peak(from + blocks.layout.map_offset(map), rows, partial[block]);
    });
    at::parallel_for(0, blocks.layout.count, 16, [&](int64_t begin, int64_t end) {
      for (int64_t map = begin; map < end; ++map) {
        Peak best = partial[map * blocks.per_map];
        for (int64_t i = 1; i < blocks.per_map; ++i) {
          const Peak& other = partial[map * blocks.per_map + i];
          if (is_higher(other.value, other.index, best.value, best.index)) best = other;
        }
        PeakFrame frame{{best.index % size.width, best.index / size.width % size.height,
                         best.index / size.width / size.height},
                        {size.width, size.height, size.depth},
                        int(dims)};
        const T* values_of_map = from + blocks.layout.map_offset(map);
        const auto read = [&](int64_t x, int64_t y, int64_t z) {
          return kernels.element(values_of_map + z * blocks.layout.by_slice + y * blocks.layout.by_row + x);
        };
        Sum point[3];
        refine_peak(Refinement(method), frame, radius, Sum(smooth), Sum(best.value), read, point);
        for (int64_t axis = 0; axis < dims; ++axis) {
          mutable_elements<Sum>(points)[map * dims + axis] = point[axis];
          mutable_elements<int64_t>(pixels)[map * dims + axis] = frame.pixel[axis];
        }
        mutable_elements<Sum>(values)[map] = Sum(best.value);
      }
    });
  });
  return {points, pixels, values};
}

}  // namespace

TORCH_LIBRARY_IMPL(mmlandmark, CPU, m) {
  m.impl("refined_peak", &refined_peak);
}

}  // namespace mmlandmark
