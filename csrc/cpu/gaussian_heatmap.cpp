// gaussian_heatmap on the CPU: every row is one profile times one factor.
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <cstring>

#include "new_maps.h"
#include "profiles.h"

namespace mmlandmark {
namespace {

at::Tensor gaussian_heatmap(const at::Tensor& landmarks, const at::Tensor& sigma, const at::Tensor& height,
                            at::IntArrayRef size, int64_t shape, at::ScalarType type) {
  check_drawing(landmarks, sigma, height, size, type);
  std::vector<int64_t> full{landmarks.size(0), landmarks.size(1)};
  full.insert(full.end(), size.begin(), size.end());
  at::Tensor maps = new_maps(full, landmarks.options().dtype(type));
  const at::Tensor points = landmarks.contiguous(), widths = sigma.contiguous(),
                   heights = height.contiguous();
  const Blocks blocks(layout_of(maps));
  const int64_t dims = size.size();
  with_kernels(type, [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const auto peak = PeakShape(shape);
    const Geometry& extent = blocks.layout.size;
    const Sum *center = elements<Sum>(points), *top = elements<Sum>(heights);
    const Widths<Sum> width{elements<Sum>(widths), axes_of(widths)};
    const AllProfiles<Sum> profiles(extent, peak == PeakShape::kDisc ? 0 : blocks.layout.count, dims, center,
                                    width,
                                    [peak](Sum x, Sum c, Sum s) { return profile_value(peak, x, c, s); });
    T* to = mutable_elements<T>(maps);
    blocks.each([&](int64_t, int64_t map, const RowRange& rows) {
      T* out = to + map * extent.pixels();
      if (top[map] == 0) {
        std::memset(out + rows.begin * extent.width, 0, (rows.end - rows.begin) * extent.width * sizeof(T));
      } else if (peak == PeakShape::kDisc) {
        kernels.draw_disc(out, rows, disc_of(center, width, map, int(dims)), top[map]);
      } else {
        kernels.draw_product(out, rows, profiles.of(map), top[map]);
      }
    });
  });
  return maps;
}

// Gradients by landmarks (B, K, D), sigma (of its shape) and height (B, K). A disc has one by its height
// alone.
std::tuple<at::Tensor, at::Tensor, at::Tensor> gaussian_heatmap_backward(const at::Tensor& gradient,
                                                                         const at::Tensor& landmarks,
                                                                         const at::Tensor& sigma,
                                                                         const at::Tensor& height,
                                                                         int64_t shape) {
  check_drawing_backward(gradient, landmarks, sigma, height, shape);
  const at::Tensor upstream = with_whole_rows(gradient), points = landmarks.contiguous(),
                   widths = sigma.contiguous(), heights = height.contiguous();
  at::Tensor by_landmarks = at::empty_like(points), by_sigma = at::empty_like(widths),
             by_height = at::empty_like(heights);
  const Blocks blocks(layout_of(upstream));
  const int64_t dims = landmarks.size(2), maps = blocks.layout.count;
  std::vector<HeatmapSlopes> partial(blocks.count());
  with_kernels(gradient.scalar_type(), [&](const auto& kernels, auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const auto peak = PeakShape(shape);
    const Sum *center = elements<Sum>(points), *top = elements<Sum>(heights);
    const Widths<Sum> width{elements<Sum>(widths), axes_of(widths)};
    const auto profiles = [&](auto part) {
      return AllProfiles<Sum>(
          blocks.layout.size, maps, dims, center, width,
          [peak, part](Sum x, Sum c, Sum s) { return profile_with_slopes(peak, x, c, s).*part; });
    };
    const auto value = profiles(&Profile<Sum>::value), by_center = profiles(&Profile<Sum>::by_center),
               by_width = profiles(&Profile<Sum>::by_sigma);
    const T* from = elements<T>(upstream);
    blocks.each([&](int64_t block, int64_t map, const RowRange& rows) {
      kernels.product_slopes(from + blocks.layout.map_offset(map), rows,
                             {value.of(map), by_center.of(map), by_width.of(map), width.per_axis()},
                             partial[block]);
    });
    for (int64_t map = 0; map < maps; ++map) {
      HeatmapSlopes all{};
      for (int64_t block = map * blocks.per_map; block < (map + 1) * blocks.per_map; ++block) {
        for (int axis = 0; axis < 3; ++axis) {
          all.center[axis] += partial[block].center[axis];
          all.sigma[axis] += partial[block].sigma[axis];
        }
        all.height += partial[block].height;
      }
      // A map of height 0 was not drawn at all: its landmark may be anything.
      const bool drawn = top[map] != 0;
      for (int64_t axis = 0; axis < dims; ++axis)
        mutable_elements<Sum>(by_landmarks)[map * dims + axis] =
            drawn ? Sum(all.center[axis] * top[map]) : Sum(0);
      for (int64_t axis = 0; axis < width.axes; ++axis)
        mutable_elements<Sum>(by_sigma)[map * width.axes + axis] =
            drawn ? Sum(all.sigma[axis] * top[map]) : Sum(0);
      mutable_elements<Sum>(by_height)[map] = drawn ? Sum(all.height) : Sum(0);
    }
  });
  return {by_landmarks, by_sigma, by_height};
}

}  // namespace

TORCH_LIBRARY_IMPL(mmlandmark, CPU, m) {
  m.impl("gaussian_heatmap", &gaussian_heatmap);
  m.impl("gaussian_heatmap_backward", &gaussian_heatmap_backward);
}

}  // namespace mmlandmark
