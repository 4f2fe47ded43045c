// From tensors (B, K, *S) to the maps that kernels see.
#pragma once

#include <ATen/core/Tensor.h>

#include "checks.h"
#include "layout.h"

namespace mmlandmark {

inline Geometry geometry_of(at::IntArrayRef size) {
  const auto dims = size.size();
  return {dims == 3 ? size[0] : 1, size[dims - 2], size[dims - 1]};
}

// Copies maps only if the pixels of a row are apart (channels_last); slices and transposed batches are not
// copied.
inline at::Tensor with_whole_rows(const at::Tensor& maps) {
  return maps.size(-1) == 1 || maps.stride(-1) == 1 ? maps : maps.contiguous();
}

inline MapLayout layout_of(const at::Tensor& maps) {
  MapLayout layout;
  layout.count = maps.size(0) * maps.size(1);
  layout.channels = maps.size(1) > 0 ? maps.size(1) : 1;
  layout.by_image = maps.stride(0);
  layout.by_channel = maps.stride(1);
  layout.by_slice = maps.dim() == 5 ? maps.stride(2) : 0;
  layout.by_row = maps.stride(-2);
  layout.size = geometry_of(maps.sizes().slice(2));
  return layout;
}

// How many widths a landmark has, of sigma (B, K) or (B, K, D).
inline int64_t axes_of(const at::Tensor& sigma) {
  return sigma.dim() == 3 ? sigma.size(2) : 1;
}

}  // namespace mmlandmark
