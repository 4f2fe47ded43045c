// The CUDA kernels behind plain C functions, for ctypes; with SHIM_MAIN a program that runs them all once.
#include "../../../csrc/cuda/ewc_loss.cu"
#include "../../../csrc/cuda/gaussian_heatmap.cu"
#include "../../../csrc/cuda/refined_peak.cu"
#include "../../../csrc/cuda/region_distance.cu"
#include "../../../csrc/cuda/soft_argmax.cu"

using namespace mmlandmark;
using namespace mmlandmark::cuda;

namespace {

// (count, channels, depth, height, width), and strides by image, channel, slice and row.
Maps maps_of(const void* data, const int64_t* layout) {
  return {
      data,
      {layout[0], layout[1], layout[5], layout[6], layout[7], layout[8], {layout[2], layout[3], layout[4]}}};
}

int64_t tiles(const Maps& maps) {
  return Tiling(maps.layout.count, maps.layout.size).tiles();
}

}  // namespace

extern "C" {

void shim_ewc_gaussian(int type, const void* pred, const int64_t* layout, const void* points,
                       const void* sigma, const void* factor, int64_t dims, int64_t axes, double log_alpha,
                       void* slopes, void* losses) {
  const Maps maps = maps_of(pred, layout);
  std::vector<double> partial(tiles(maps));
  ewc_gaussian(Type(type), maps, {points, sigma, factor, dims, axes}, log_alpha, slopes, partial.data(),
               losses, nullptr);
}

void shim_ewc_target(int type, const void* pred, const int64_t* layout, const void* target,
                     const void* factor, double log_alpha, void* slopes, void* losses) {
  const Maps maps = maps_of(pred, layout);
  std::vector<double> partial(tiles(maps));
  ewc_target(Type(type), maps, target, factor, log_alpha, slopes, partial.data(), losses, nullptr);
}

void shim_draw(int type, const int64_t* layout, const void* points, const void* sigma, const void* height,
               int64_t dims, int64_t axes, int shape, void* out) {
  draw(Type(type), {points, sigma, height, dims, axes}, PeakShape(shape), out, maps_of(out, layout).layout,
       nullptr);
}

void shim_draw_backward(int type, const void* gradient, const int64_t* layout, const void* points,
                        const void* sigma, const void* height, int64_t dims, int64_t axes, int shape,
                        void* by_points, void* by_sigma, void* by_height) {
  const Maps maps = maps_of(gradient, layout);
  std::vector<HeatmapSlopes> partial(tiles(maps));
  draw_backward(Type(type), maps, {points, sigma, height, dims, axes}, PeakShape(shape), partial.data(),
                by_points, by_sigma, by_height, nullptr);
}

void shim_expectation(int type, const void* heatmaps, const int64_t* layout, const void* features,
                      int64_t count, double beta, bool sigmoid, void* result, void* state) {
  const Maps maps = maps_of(heatmaps, layout);
  std::vector<WeightSums> partial(tiles(maps));
  expectation(Type(type), maps, {features, count, beta, sigmoid}, partial.data(), result, state, nullptr);
}

void shim_expectation_backward(int type, const void* heatmaps, const int64_t* layout, const void* features,
                               int64_t count, double beta, bool sigmoid, const void* gradient,
                               const void* result, const void* state, void* slopes) {
  expectation_backward(Type(type), maps_of(heatmaps, layout), {features, count, beta, sigmoid}, gradient,
                       result, state, slopes, nullptr);
}

void shim_distance(int type, const void* heatmaps, const int64_t* layout, const void* points,
                   const double* factors, int64_t dims, void* result, void* mass) {
  const Maps maps = maps_of(heatmaps, layout);
  std::vector<DistanceSums> partial(tiles(maps));
  distance(Type(type), maps, {points, {factors[0], factors[1], factors[2]}, dims}, partial.data(), result,
           mass, nullptr);
}

void shim_distance_backward(int type, const void* heatmaps, const int64_t* layout, const void* points,
                            const double* factors, int64_t dims, const void* gradient, const void* result,
                            const void* mass, void* slopes, void* by_centers) {
  const Maps maps = maps_of(heatmaps, layout);
  std::vector<double> partial(3 * tiles(maps));
  distance_backward(Type(type), maps, {points, {factors[0], factors[1], factors[2]}, dims}, gradient, result,
                    mass, slopes, partial.data(), by_centers, nullptr);
}

void shim_refined_peak(int type, const void* heatmaps, const int64_t* layout, int method, int64_t radius,
                       double smooth, void* points, int64_t* pixels, void* values, int64_t dims) {
  const Maps maps = maps_of(heatmaps, layout);
  std::vector<Peak> partial(tiles(maps));
  refined_peak(Type(type), maps, Refinement(method), radius, smooth, partial.data(), points, pixels, values,
               dims, nullptr);
}

}  // extern "C"

#if defined(SHIM_MAIN)
int main(int count, char**) {
  with_barriers = count == 1;
  constexpr int64_t kHeight = 37, kWidth = 45, kMaps = 2, kPixels = kHeight * kWidth;
  const int64_t layout[9] = {kMaps, kMaps, 1, kHeight, kWidth, 0, kPixels, 0, kWidth};
  std::vector<float> maps(kMaps * kPixels), out(kMaps * kPixels), features(2 * kPixels, 0.5f);
  for (size_t i = 0; i < maps.size(); ++i) maps[i] = float(i * 2654435761u % 1000) / 1000;
  const float points[2 * kMaps] = {5, 7, 20, 30}, sigma[kMaps] = {2, 3}, ones[kMaps] = {1, 0.5};
  const double factors[3] = {1, 1, 1};
  float a[3 * kMaps], b[3 * kMaps], c[3 * kMaps];
  int64_t pixels[3 * kMaps];
  shim_ewc_gaussian(0, maps.data(), layout, points, sigma, ones, 2, 1, 3.7, out.data(), a);
  shim_ewc_target(0, maps.data(), layout, maps.data(), ones, 3.7, out.data(), a);
  shim_draw(0, layout, points, sigma, ones, 2, 1, 0, out.data());
  shim_draw_backward(0, maps.data(), layout, points, sigma, ones, 2, 1, 0, a, b, c);
  const float wide[2 * kMaps] = {2, 4, 3, 1};
  shim_draw(0, layout, points, wide, ones, 2, 2, 2, out.data());
  shim_draw_backward(0, maps.data(), layout, points, wide, ones, 2, 2, 0, a, b, c);
  for (const bool sigmoid : {false, true}) {
    shim_expectation(0, maps.data(), layout, nullptr, 2, 3.0, sigmoid, a, b);
    shim_expectation_backward(0, maps.data(), layout, nullptr, 2, 3.0, sigmoid, points, a, b, out.data());
    shim_expectation(0, maps.data(), layout, features.data(), 2, 3.0, sigmoid, a, b);
  }
  shim_distance(0, maps.data(), layout, points, factors, 2, a, b);
  shim_distance_backward(0, maps.data(), layout, points, factors, 2, ones, a, b, out.data(), c);
  shim_refined_peak(0, maps.data(), layout, 1, 2, 0.0, a, pixels, b, 2);
  return 0;
}
#endif
