// Mean distances of maps from points, on the CPU.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <array>

#include "blocks.h"
#include "new_maps.h"

namespace mmlandmark {
namespace {

DistanceFrame distance_frame(const double* center, at::ArrayRef<double> factors) {
  DistanceFrame frame{{0, 0, 0}, {0, 0, 0}};
  for (size_t axis = 0; axis < factors.size(); ++axis) {
    frame.center[axis] = center[axis];
    frame.factors[axis] = factors[axis];
  }
  return frame;
}

// Returns sum H d / sum H and sum H, both (B, K).
std::tuple<at::Tensor, at::Tensor> region_distance(const at::Tensor& heatmaps, const at::Tensor& centers,
                                                   at::ArrayRef<double> factors) {
  check_distance(heatmaps, centers, factors);
  const int64_t dims = heatmaps.dim() - 2;
  const at::Tensor maps = with_whole_rows(heatmaps), points = centers.contiguous().to(at::kDouble);
  const Blocks blocks(layout_of(maps));
  at::Tensor distance = at::empty({heatmaps.size(0), heatmaps.size(1)}, centers.options());
  at::Tensor mass = at::empty_like(distance);
  std::vector<DistanceSums> partial(blocks.count());
  with_kernels(heatmaps.scalar_type(), [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const T* from = elements<T>(maps);
    blocks.each([&](int64_t block, int64_t map, const RowRange& rows) {
      const auto frame = distance_frame(elements<double>(points) + map * dims, factors);
      kernels.distance_sums(from + blocks.layout.map_offset(map), rows, frame, partial[block]);
    });
    for (int64_t map = 0; map < blocks.layout.count; ++map) {
      DistanceSums all{};
      for (int64_t block = map * blocks.per_map; block < (map + 1) * blocks.per_map; ++block) {
        all.mass += partial[block].mass;
        all.moment += partial[block].moment;
      }
      mutable_elements<Sum>(distance)[map] = Sum(all.moment / all.mass);
      mutable_elements<Sum>(mass)[map] = Sum(all.mass);
    }
  });
  return {distance, mass};
}

// Gradients by the heatmaps (B, K, *S) and by the centers (B, K, D), from one read of the heatmaps.
std::tuple<at::Tensor, at::Tensor> region_distance_backward(
    const at::Tensor& gradient, const at::Tensor& heatmaps, const at::Tensor& centers,
    const at::Tensor& distance, const at::Tensor& mass, at::ArrayRef<double> factors) {
  check_distance(heatmaps, centers, factors);
  check_per_landmark(gradient, heatmaps, "gradient");
  const int64_t dims = heatmaps.dim() - 2;
  const at::Tensor maps = with_whole_rows(heatmaps), points = centers.contiguous().to(at::kDouble),
                   upstream = gradient.contiguous(), means = distance.contiguous(),
                   masses = mass.contiguous();
  const Blocks blocks(layout_of(maps));
  at::Tensor slopes = new_maps(heatmaps.sizes(), heatmaps.options());
  at::Tensor by_centers = at::empty(centers.sizes(), centers.options());
  std::vector<std::array<double, 3>> partial(blocks.count());
  with_kernels(heatmaps.scalar_type(), [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const Sum *g = elements<Sum>(upstream), *mean = elements<Sum>(means), *total = elements<Sum>(masses);
    const T* from = elements<T>(maps);
    T* to = mutable_elements<T>(slopes);
    blocks.each([&](int64_t block, int64_t map, const RowRange& rows) {
      const auto frame = distance_frame(elements<double>(points) + map * dims, factors);
      kernels.distance_slopes(from + blocks.layout.map_offset(map), rows, frame, mean[map],
                              g[map] / total[map], to + map * blocks.layout.size.pixels(),
                              partial[block].data());
    });
    for (int64_t map = 0; map < blocks.layout.count; ++map)
      for (int64_t axis = 0; axis < dims; ++axis) {
        double all = 0;
        for (int64_t block = map * blocks.per_map; block < (map + 1) * blocks.per_map; ++block)
          all += partial[block][axis];
        mutable_elements<Sum>(by_centers)[map * dims + axis] = Sum(all);
      }
  });
  return {slopes, by_centers};
}

}  // namespace

TORCH_LIBRARY_IMPL(mmlandmark, CPU, m) {
  m.impl("region_distance", &region_distance);
  m.impl("region_distance_backward", &region_distance_backward);
}

}  // namespace mmlandmark
