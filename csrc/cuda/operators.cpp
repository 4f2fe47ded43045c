// The operators on a GPU: checks, memory, the current stream. The kernels include no header of torch.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "../common/maps.h"
#include "launch.h"

namespace mmlandmark {
namespace {

cuda::Type type_of(const at::Tensor& maps) {
  switch (maps.scalar_type()) {
    case at::kFloat:
      return cuda::Type::kFloat;
    case at::kDouble:
      return cuda::Type::kDouble;
    case at::kBFloat16:
      return cuda::Type::kBFloat16;
    case at::kHalf:
      return cuda::Type::kHalf;
    default:
      TORCH_CHECK_VALUE(false, "maps must be float32, float64, bfloat16 or float16, got ",
                        maps.scalar_type());
  }
}

// Maps on their device, with that device current and its stream at hand.
struct OnDevice {
  c10::cuda::CUDAGuard guard;
  at::Tensor whole;
  cuda::Maps maps;
  cudaStream_t stream;

  explicit OnDevice(const at::Tensor& tensor)
      : guard(tensor.device()),
        whole(with_whole_rows(tensor)),
        maps{whole.const_data_ptr(), layout_of(whole)},
        stream(c10::cuda::getCurrentCUDAStream(tensor.device().index())) {}

  // Memory for one State per tile, until this call's kernels are done.
  template <class State>
  at::Tensor partial() const {
    const int64_t tiles = cuda::Tiling(maps.layout.count, maps.layout.size).tiles();
    return at::empty({tiles * int64_t(sizeof(State))}, whole.options().dtype(at::kByte));
  }
};

template <class State>
State* states(const at::Tensor& partial) {
  return static_cast<State*>(partial.mutable_data_ptr());
}

cuda::Landmarks landmarks_of(const at::Tensor& points, const at::Tensor& sigma, const at::Tensor& factor) {
  return {points.const_data_ptr(), sigma.const_data_ptr(), factor.const_data_ptr(), points.size(2),
          axes_of(sigma)};
}

using LossAndSlopes = std::tuple<at::Tensor, at::Tensor>;

LossAndSlopes ewc_loss(const at::Tensor& prediction, const at::Tensor& landmarks, const at::Tensor& sigma,
                       const at::Tensor& factor, double log_alpha, bool with_slopes) {
  check_ewc(prediction, landmarks, sigma, factor);
  const OnDevice pred(prediction);
  const at::Tensor points = landmarks.contiguous(), widths = sigma.contiguous(), gains = factor.contiguous();
  at::Tensor losses = at::empty(factor.sizes(), factor.options());
  at::Tensor slopes =
      at::empty(with_slopes ? prediction.sizes() : at::IntArrayRef({0}), prediction.options());
  const at::Tensor partial = pred.partial<double>();
  cuda::ewc_gaussian(type_of(prediction), pred.maps, landmarks_of(points, widths, gains), log_alpha,
                     with_slopes ? slopes.mutable_data_ptr() : nullptr, states<double>(partial),
                     losses.mutable_data_ptr(), pred.stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {losses, slopes};
}

LossAndSlopes ewc_loss_map(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& factor,
                           double log_alpha, bool with_slopes) {
  check_ewc_map(prediction, target, factor);
  const OnDevice pred(prediction);
  const at::Tensor truth = target.contiguous(), gains = factor.contiguous();
  at::Tensor losses = at::empty(factor.sizes(), factor.options());
  at::Tensor slopes =
      at::empty(with_slopes ? prediction.sizes() : at::IntArrayRef({0}), prediction.options());
  const at::Tensor partial = pred.partial<double>();
  cuda::ewc_target(type_of(prediction), pred.maps, truth.const_data_ptr(), gains.const_data_ptr(), log_alpha,
                   with_slopes ? slopes.mutable_data_ptr() : nullptr, states<double>(partial),
                   losses.mutable_data_ptr(), pred.stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {losses, slopes};
}

at::Tensor gaussian_heatmap(const at::Tensor& landmarks, const at::Tensor& sigma, const at::Tensor& height,
                            at::IntArrayRef size, int64_t shape, at::ScalarType type) {
  check_drawing(landmarks, sigma, height, size, type);
  const c10::cuda::CUDAGuard guard(landmarks.device());
  std::vector<int64_t> full{landmarks.size(0), landmarks.size(1)};
  full.insert(full.end(), size.begin(), size.end());
  at::Tensor maps = at::empty(full, landmarks.options().dtype(type));
  const at::Tensor points = landmarks.contiguous(), widths = sigma.contiguous(), tops = height.contiguous();
  cuda::draw(type_of(maps), landmarks_of(points, widths, tops), PeakShape(shape), maps.mutable_data_ptr(),
             layout_of(maps), c10::cuda::getCurrentCUDAStream(landmarks.device().index()));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return maps;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gaussian_heatmap_backward(const at::Tensor& gradient,
                                                                         const at::Tensor& landmarks,
                                                                         const at::Tensor& sigma,
                                                                         const at::Tensor& height,
                                                                         int64_t shape) {
  check_drawing_backward(gradient, landmarks, sigma, height, shape);
  const OnDevice upstream(gradient);
  const at::Tensor points = landmarks.contiguous(), widths = sigma.contiguous(), tops = height.contiguous();
  at::Tensor by_points = at::empty_like(points), by_sigma = at::empty_like(widths),
             by_height = at::empty_like(tops);
  const at::Tensor partial = upstream.partial<HeatmapSlopes>();
  cuda::draw_backward(type_of(gradient), upstream.maps, landmarks_of(points, widths, tops), PeakShape(shape),
                      states<HeatmapSlopes>(partial), by_points.mutable_data_ptr(),
                      by_sigma.mutable_data_ptr(), by_height.mutable_data_ptr(), upstream.stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {by_points, by_sigma, by_height};
}

cuda::Expectation expectation_of(const at::Tensor& features, int64_t count, double beta, bool sigmoid) {
  return {features.defined() ? features.const_data_ptr() : nullptr, count, beta, sigmoid};
}

std::tuple<at::Tensor, at::Tensor> spatial_expectation(const at::Tensor& heatmaps,
                                                       const std::optional<at::Tensor>& features, double beta,
                                                       bool sigmoid) {
  const at::Tensor chosen = checked_features(features, heatmaps);
  const int64_t count = features ? features->size(0) : heatmaps.dim() - 2;
  const OnDevice on(heatmaps);
  const auto options = heatmaps.options().dtype(accumulate_type(heatmaps.scalar_type()));
  at::Tensor expectation = at::empty({heatmaps.size(0), heatmaps.size(1), count}, options);
  at::Tensor state = at::empty({heatmaps.size(0), heatmaps.size(1), 2}, options);
  const at::Tensor partial = on.partial<WeightSums>();
  cuda::expectation(type_of(heatmaps), on.maps, expectation_of(chosen, count, beta, sigmoid),
                    states<WeightSums>(partial), expectation.mutable_data_ptr(), state.mutable_data_ptr(),
                    on.stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {expectation, state};
}

at::Tensor spatial_expectation_backward(const at::Tensor& gradient, const at::Tensor& heatmaps,
                                        const std::optional<at::Tensor>& features,
                                        const at::Tensor& expectation, const at::Tensor& state, double beta,
                                        bool sigmoid) {
  const at::Tensor chosen = checked_features(features, heatmaps);
  const int64_t count = features ? features->size(0) : heatmaps.dim() - 2;
  check_shape(gradient, {heatmaps.size(0), heatmaps.size(1), count}, "gradient");
  const OnDevice on(heatmaps);
  const at::Tensor upstream = gradient.contiguous().to(state.scalar_type()), mean = expectation.contiguous(),
                   kept = state.contiguous();
  at::Tensor slopes = at::empty(heatmaps.sizes(), heatmaps.options());
  cuda::expectation_backward(type_of(heatmaps), on.maps, expectation_of(chosen, count, beta, sigmoid),
                             upstream.const_data_ptr(), mean.const_data_ptr(), kept.const_data_ptr(),
                             slopes.mutable_data_ptr(), on.stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return slopes;
}

cuda::Centers centers_of(const at::Tensor& points, at::ArrayRef<double> spacing) {
  cuda::Centers centers{points.const_data_ptr(), {1, 1, 1}, points.size(2)};
  for (size_t axis = 0; axis < spacing.size(); ++axis) centers.factors[axis] = spacing[axis];
  return centers;
}

std::tuple<at::Tensor, at::Tensor> region_distance(const at::Tensor& heatmaps, const at::Tensor& centers,
                                                   at::ArrayRef<double> spacing) {
  check_distance(heatmaps, centers, spacing);
  const OnDevice on(heatmaps);
  const at::Tensor points = centers.contiguous();
  at::Tensor distance = at::empty({heatmaps.size(0), heatmaps.size(1)}, centers.options());
  at::Tensor mass = at::empty_like(distance);
  const at::Tensor partial = on.partial<DistanceSums>();
  cuda::distance(type_of(heatmaps), on.maps, centers_of(points, spacing), states<DistanceSums>(partial),
                 distance.mutable_data_ptr(), mass.mutable_data_ptr(), on.stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {distance, mass};
}

std::tuple<at::Tensor, at::Tensor> region_distance_backward(
    const at::Tensor& gradient, const at::Tensor& heatmaps, const at::Tensor& centers,
    const at::Tensor& distance, const at::Tensor& mass, at::ArrayRef<double> spacing) {
  check_distance(heatmaps, centers, spacing);
  check_per_landmark(gradient, heatmaps, "gradient");
  const OnDevice on(heatmaps);
  const at::Tensor points = centers.contiguous(), upstream = gradient.contiguous(),
                   means = distance.contiguous(), masses = mass.contiguous();
  at::Tensor slopes = at::empty(heatmaps.sizes(), heatmaps.options());
  at::Tensor by_centers = at::empty(centers.sizes(), centers.options());
  const at::Tensor partial = on.partial<double[3]>();
  cuda::distance_backward(type_of(heatmaps), on.maps, centers_of(points, spacing), upstream.const_data_ptr(),
                          means.const_data_ptr(), masses.const_data_ptr(), slopes.mutable_data_ptr(),
                          states<double>(partial), by_centers.mutable_data_ptr(), on.stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {slopes, by_centers};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> refined_peak(const at::Tensor& heatmaps, int64_t method,
                                                            int64_t radius, double smooth) {
  check_maps(heatmaps, "heatmaps");
  const OnDevice on(heatmaps);
  const int64_t dims = heatmaps.dim() - 2;
  const auto options = heatmaps.options().dtype(accumulate_type(heatmaps.scalar_type()));
  at::Tensor points = at::empty({heatmaps.size(0), heatmaps.size(1), dims}, options);
  at::Tensor pixels = at::empty(points.sizes(), options.dtype(at::kLong));
  at::Tensor values = at::empty({heatmaps.size(0), heatmaps.size(1)}, options);
  const at::Tensor partial = on.partial<Peak>();
  cuda::refined_peak(type_of(heatmaps), on.maps, Refinement(method), radius, smooth, states<Peak>(partial),
                     points.mutable_data_ptr(), pixels.mutable_data_ptr<int64_t>(), values.mutable_data_ptr(),
                     dims, on.stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {points, pixels, values};
}

}  // namespace

TORCH_LIBRARY_IMPL(mmlandmark, CUDA, m) {
  m.impl("ewc_loss", &ewc_loss);
  m.impl("ewc_loss_map", &ewc_loss_map);
  m.impl("gaussian_heatmap", &gaussian_heatmap);
  m.impl("gaussian_heatmap_backward", &gaussian_heatmap_backward);
  m.impl("spatial_expectation", &spatial_expectation);
  m.impl("spatial_expectation_backward", &spatial_expectation_backward);
  m.impl("region_distance", &region_distance);
  m.impl("region_distance_backward", &region_distance_backward);
  m.impl("refined_peak", &refined_peak);
}

}  // namespace mmlandmark
