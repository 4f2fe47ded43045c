// Checks of every operator before it touches memory; messages name the argument and print its shape.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <optional>

#include "layout.h"
#include "peak_shape.h"

namespace mmlandmark {

// The type of sums: double for double, float for everything smaller.
inline at::ScalarType accumulate_type(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

// (B, K, *S) with two or three spatial dimensions of at least one pixel.
inline void check_maps(const at::Tensor& maps, const char* name) {
  TORCH_CHECK_VALUE(maps.dim() == 4 || maps.dim() == 5, name,
                    " must be (B, K, *S) with 2 or 3 spatial dimensions, got ", maps.sizes());
  TORCH_CHECK_VALUE(maps.is_floating_point(), name, " must be a floating point tensor, got ",
                    maps.scalar_type());
  for (int64_t axis = 2; axis < maps.dim(); ++axis)
    TORCH_CHECK_VALUE(maps.size(axis) > 0, name, " has an axis without pixels: ", maps.sizes());
}

inline void check_shape(const at::Tensor& tensor, at::IntArrayRef expected, const char* name) {
  TORCH_CHECK_VALUE(tensor.sizes() == expected, name, " must be ", expected, ", got ", tensor.sizes());
}

inline void check_type(const at::Tensor& tensor, at::ScalarType expected, const char* name) {
  TORCH_CHECK_VALUE(tensor.scalar_type() == expected, name, " must be ", expected, ", got ",
                    tensor.scalar_type());
}

inline void check_device(const at::Tensor& tensor, const at::Tensor& like, const char* name) {
  TORCH_CHECK_VALUE(tensor.device() == like.device(), name, " is on ", tensor.device(), ", the maps are on ",
                    like.device(), ": move one of them");
}

// One number per map, (B, K), in the type of sums.
inline void check_per_landmark(const at::Tensor& tensor, const at::Tensor& maps, const char* name) {
  check_shape(tensor, {maps.size(0), maps.size(1)}, name);
  check_type(tensor, accumulate_type(maps.scalar_type()), name);
  check_device(tensor, maps, name);
}

// One point per map, (B, K, D), in the type of sums.
inline void check_landmarks(const at::Tensor& tensor, const at::Tensor& maps, const char* name) {
  check_shape(tensor, {maps.size(0), maps.size(1), maps.dim() - 2}, name);
  check_type(tensor, accumulate_type(maps.scalar_type()), name);
  check_device(tensor, maps, name);
}

// Widths of peaks for `landmarks` (B, K, D): (B, K), or (B, K, D) per axis.
inline void check_sigma(const at::Tensor& sigma, const at::Tensor& landmarks) {
  const auto batch = landmarks.size(0), count = landmarks.size(1), dims = landmarks.size(2);
  TORCH_CHECK_VALUE(sigma.sizes() == landmarks.sizes() || sigma.sizes() == at::IntArrayRef({batch, count}),
                    "sigma must be [", batch, ", ", count, "] or [", batch, ", ", count, ", ", dims,
                    "], got ", sigma.sizes());
  check_type(sigma, landmarks.scalar_type(), "sigma");
  check_device(sigma, landmarks, "sigma");
}

// The arguments of each operator, on any device.

inline void check_ewc(const at::Tensor& pred, const at::Tensor& landmarks, const at::Tensor& sigma,
                      const at::Tensor& factor) {
  check_maps(pred, "pred");
  check_landmarks(landmarks, pred, "landmarks");
  check_sigma(sigma, landmarks);
  check_per_landmark(factor, pred, "factor");
}

inline void check_ewc_map(const at::Tensor& pred, const at::Tensor& target, const at::Tensor& factor) {
  check_maps(pred, "pred");
  check_shape(target, pred.sizes(), "target");
  check_type(target, pred.scalar_type(), "target");
  check_device(target, pred, "target");
  check_per_landmark(factor, pred, "factor");
}

inline void check_drawing(const at::Tensor& landmarks, const at::Tensor& sigma, const at::Tensor& height,
                          at::IntArrayRef size, at::ScalarType type) {
  TORCH_CHECK_VALUE(size.size() == 2 || size.size() == 3, "size must have 2 or 3 entries, got ", size);
  for (const auto side : size) TORCH_CHECK_VALUE(side > 0, "size has an axis without pixels: ", size);
  TORCH_CHECK_VALUE(landmarks.dim() == 3 && landmarks.size(2) == int64_t(size.size()),
                    "landmarks must be (B, K, ", size.size(), "), got ", landmarks.sizes());
  check_type(landmarks, accumulate_type(type), "landmarks");
  check_sigma(sigma, landmarks);
  check_shape(height, {landmarks.size(0), landmarks.size(1)}, "height");
  check_type(height, landmarks.scalar_type(), "height");
  check_device(height, landmarks, "height");
}

inline void check_drawing_backward(const at::Tensor& gradient, const at::Tensor& landmarks,
                                   const at::Tensor& sigma, const at::Tensor& height, int64_t shape) {
  check_maps(gradient, "gradient");
  check_drawing(landmarks, sigma, height, gradient.sizes().slice(2), gradient.scalar_type());
  check_landmarks(landmarks, gradient, "landmarks");
  TORCH_CHECK_VALUE(PeakShape(shape) != PeakShape::kDisc, "a disc has no gradient");
}

// Feature maps as kernels read them: (d, *S) in one piece, or undefined for the coordinates.
inline at::Tensor checked_features(const std::optional<at::Tensor>& features, const at::Tensor& heatmaps) {
  check_maps(heatmaps, "heatmaps");
  if (!features) return {};
  TORCH_CHECK_VALUE(
      features->dim() == heatmaps.dim() - 1 && features->sizes().slice(1) == heatmaps.sizes().slice(2),
      "features must be (d, *S) with *S = ", heatmaps.sizes().slice(2), ", got ", features->sizes());
  TORCH_CHECK_VALUE(features->size(0) >= 1 && features->size(0) <= kMostFeatures, "features must be 1 to ",
                    kMostFeatures, " maps, got ", features->size(0));
  check_type(*features, accumulate_type(heatmaps.scalar_type()), "features");
  check_device(*features, heatmaps, "features");
  return features->contiguous();
}

inline void check_distance(const at::Tensor& heatmaps, const at::Tensor& centers,
                           at::ArrayRef<double> spacing) {
  check_maps(heatmaps, "heatmaps");
  check_landmarks(centers, heatmaps, "centers");
  TORCH_CHECK_VALUE(int64_t(spacing.size()) == heatmaps.dim() - 2, "spacing must have ", heatmaps.dim() - 2,
                    " entries, got ", spacing.size());
}

}  // namespace mmlandmark
