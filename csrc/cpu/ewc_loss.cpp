// ewc_loss on the CPU: loss and gradient from one read of the prediction, without a target map in memory.
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cstring>

#include "new_maps.h"
#include "profiles.h"

namespace mmlandmark {
namespace {

using LossAndSlopes = std::tuple<at::Tensor, at::Tensor>;

// Run a loss over all maps. `prepare(kernels, T(), Sum())` returns a function of (map, first pixel, rows,
// gain, slopes) that returns the loss of those rows as double.
template <class Prepare>
LossAndSlopes over_maps(const at::Tensor& prediction, const at::Tensor& factor, bool with_slopes,
                        const Prepare& prepare) {
  const at::Tensor pred = with_whole_rows(prediction), gains = factor.contiguous();
  const Blocks blocks(layout_of(pred));
  const Geometry& size = blocks.layout.size;
  at::Tensor slopes = new_maps(with_slopes ? prediction.sizes() : at::IntArrayRef({0}), prediction.options());
  std::vector<double> partial(blocks.count());
  with_kernels(prediction.scalar_type(), [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const auto loss_of_rows = prepare(kernels, element, sum);
    const Sum* gain = elements<Sum>(gains);
    const T* from = elements<T>(pred);
    T* to = with_slopes ? mutable_elements<T>(slopes) : nullptr;
    blocks.each([&](int64_t block, int64_t map, const RowRange& rows) {
      T* out = to ? to + map * size.pixels() : nullptr;
      if (gain[map] != 0) {
        partial[block] = loss_of_rows(map, from + blocks.layout.map_offset(map), rows, gain[map], out);
      } else if (out) {  // not annotated: the prediction does not matter, even if it is NaN
        std::memset(out + rows.begin * size.width, 0, (rows.end - rows.begin) * size.width * sizeof(T));
      }
    });
  });
  at::Tensor losses = at::zeros(factor.sizes(), factor.options().dtype(at::kDouble));
  double* loss = losses.mutable_data_ptr<double>();
  for (int64_t block = 0; block < blocks.count(); ++block) loss[block / blocks.per_map] += partial[block];
  return {losses.to(factor.scalar_type()).mul_(gains), slopes};
}

LossAndSlopes ewc_loss(const at::Tensor& prediction, const at::Tensor& landmarks, const at::Tensor& sigma,
                       const at::Tensor& factor, double log_alpha, bool with_slopes) {
  check_ewc(prediction, landmarks, sigma, factor);
  const int64_t dims = prediction.dim() - 2;
  const at::Tensor points = landmarks.contiguous(), widths = sigma.contiguous();
  return over_maps(prediction, factor, with_slopes, [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const Geometry size = geometry_of(prediction.sizes().slice(2));
    const Sum* center = elements<Sum>(points);
    const Widths<Sum> width{elements<Sum>(widths), axes_of(widths)};
    AllProfiles<Sum> profiles(
        size, points.size(0) * points.size(1), dims, center, width,
        [](Sum x, Sum c, Sum s) { return profile_value(PeakShape::kGaussian, x, c, s); });
    return [=, &kernels, profiles = std::move(profiles)](int64_t map, const T* from, const RowRange& rows,
                                                         Sum gain, T* out) {
      const GaussianTarget<Sum> target{profiles.of(map), center[map * dims], width.at(map, 0)};
      return kernels.ewc_gaussian(from, rows, target, Sum(log_alpha), gain, out);
    };
  });
}

LossAndSlopes ewc_loss_map(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& factor,
                           double log_alpha, bool with_slopes) {
  check_ewc_map(prediction, target, factor);
  const at::Tensor truth = target.contiguous();
  return over_maps(prediction, factor, with_slopes, [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const T* goal = elements<T>(truth);
    const int64_t pixels = geometry_of(prediction.sizes().slice(2)).pixels();
    return [=, &kernels](int64_t map, const T* from, const RowRange& rows, Sum gain, T* out) {
      return kernels.ewc_target(from, rows, goal + map * pixels, Sum(log_alpha), gain, out);
    };
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(mmlandmark, CPU, m) {
  m.impl("ewc_loss", &ewc_loss);
  m.impl("ewc_loss_map", &ewc_loss_map);
}

}  // namespace mmlandmark
