// Expectations under a map's weights, on the CPU.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>

#include "blocks.h"
#include "new_maps.h"

namespace mmlandmark {
namespace {

template <class Sum>
Features<Sum> view_of(const at::Tensor& features, int64_t dims) {
  if (!features.defined()) return {nullptr, dims, 0};
  return {elements<Sum>(features), features.size(0), features.numel() / features.size(0)};
}

// Returns expectations (B, K, d) and the state that the backward needs, (B, K, 2): maximum of h and sum of
// weights.
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

}  // namespace

TORCH_LIBRARY_IMPL(mmlandmark, CPU, m) {
  m.impl("spatial_expectation", &spatial_expectation);
  m.impl("spatial_expectation_backward", &spatial_expectation_backward);
}

}  // namespace mmlandmark
