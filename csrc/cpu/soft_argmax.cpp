// Expectations under a map's weights, distances from a point, and refined peaks, on the CPU.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <array>
#include <limits>
#include <optional>

#include "../common/refine.h"
#include "blocks.h"
#include "new_maps.h"

namespace mmlandmark {
namespace {

template <class Sum>
Features<Sum> view_of(const at::Tensor& features, int64_t dims) {
  if (!features.defined()) return {nullptr, dims, 0};
  return {elements<Sum>(features), features.size(0), features.numel() / features.size(0)};
}

// Returns expectations (B, K, d) and what the backward needs, (B, K, 2): maximum of h and sum of weights.
std::tuple<at::Tensor, at::Tensor> spatial_expectation(const at::Tensor& heatmaps,
                                                       const std::optional<at::Tensor>& features, double beta,
                                                       bool sigmoid) {
  const at::Tensor chosen = checked_features(features, heatmaps);
  const int64_t count = features ? features->size(0) : heatmaps.dim() - 2;
  const at::Tensor maps = with_whole_rows(heatmaps);
  const Blocks blocks(layout_of(maps));
  const auto options = heatmaps.options().dtype(accumulate_type(heatmaps.scalar_type()));
  at::Tensor expectation = at::empty({heatmaps.size(0), heatmaps.size(1), count}, options);
  at::Tensor state = at::empty({heatmaps.size(0), heatmaps.size(1), 2}, options);
  std::vector<WeightSums> partial(blocks.count());
  with_kernels(heatmaps.scalar_type(), [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const auto view = view_of<Sum>(chosen, count);
    const T* from = elements<T>(maps);
    const Sum rate = Sum(rate_of(beta));
    blocks.each([&](int64_t block, int64_t map, const RowRange& rows) {
      std::vector<Sum> scratch(view.features ? rows.width + kPadding : 0);
      const T* values = from + blocks.layout.map_offset(map);
      if (sigmoid)
        kernels.sigmoid_sums(values, rows, rate, view, scratch.data(), partial[block]);
      else
        kernels.softmax_sums(values, rows, rate, view, scratch.data(), partial[block]);
    });
    Sum *to = mutable_elements<Sum>(expectation), *kept = mutable_elements<Sum>(state);
    for (int64_t map = 0; map < blocks.layout.count; ++map) {
      WeightSums all = partial[map * blocks.per_map];
      for (int64_t block = 1; block < blocks.per_map; ++block)
        merge(all, partial[map * blocks.per_map + block], rate);
      for (int64_t i = 0; i < count; ++i) to[map * count + i] = Sum(all.moments[i] / all.total);
      kept[2 * map] = Sum(all.top);
      kept[2 * map + 1] = Sum(all.total);
    }
  });
  return {expectation, state};
}

at::Tensor spatial_expectation_backward(const at::Tensor& gradient, const at::Tensor& heatmaps,
                                        const std::optional<at::Tensor>& features,
                                        const at::Tensor& expectation, const at::Tensor& state, double beta,
                                        bool sigmoid) {
  const at::Tensor chosen = checked_features(features, heatmaps);
  const int64_t count = features ? features->size(0) : heatmaps.dim() - 2;
  check_shape(gradient, {heatmaps.size(0), heatmaps.size(1), count}, "gradient");
  const at::Tensor maps = with_whole_rows(heatmaps), upstream = gradient.contiguous().to(state.scalar_type()),
                   mean = expectation.contiguous(), kept = state.contiguous();
  const Blocks blocks(layout_of(maps));
  at::Tensor slopes = new_maps(heatmaps.sizes(), heatmaps.options());
  with_kernels(heatmaps.scalar_type(), [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const auto view = view_of<Sum>(chosen, count);
    const Sum *g = elements<Sum>(upstream), *e = elements<Sum>(mean), *s = elements<Sum>(kept);
    const T* from = elements<T>(maps);
    T* to = mutable_elements<T>(slopes);
    const Sum rate = Sum(rate_of(beta));
    blocks.each([&](int64_t, int64_t map, const RowRange& rows) {
      std::vector<Sum> scratch(view.features ? rows.width + kPadding : 0);
      FeaturePlane plane{};
      for (int64_t i = 0; i < count; ++i) {
        plane.slopes[i] = g[map * count + i];
        plane.offset += plane.slopes[i] * e[map * count + i];
      }
      const T* values = from + blocks.layout.map_offset(map);
      T* out = to + map * blocks.layout.size.pixels();
      if (sigmoid)
        kernels.sigmoid_slopes(values, rows, rate, Sum(beta / s[2 * map + 1]), view, plane, scratch.data(),
                               out);
      else
        kernels.softmax_slopes(values, rows, rate, s[2 * map], Sum(beta / s[2 * map + 1]), view, plane,
                               scratch.data(), out);
    });
  });
  return slopes;
}

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
  m.impl("spatial_expectation", &spatial_expectation);
  m.impl("spatial_expectation_backward", &spatial_expectation_backward);
  m.impl("region_distance", &region_distance);
  m.impl("region_distance_backward", &region_distance_backward);
  m.impl("refined_peak", &refined_peak);
}

}  // namespace mmlandmark
