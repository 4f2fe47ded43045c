// Every operator of mmlandmark, in one place. Shapes: B images, K landmarks, D dimensions, *S pixels.
//
// Points are (x, y[, z]) in pixels, in the type of sums: double for double maps, else float.
#include <torch/library.h>

TORCH_LIBRARY(mmlandmark, m) {
  // pred (B, K, *S), landmarks (B, K, D), sigma (B, K) or (B, K, D), factor (B, K): 0 where there is no
  // landmark.
  // -> factor * sum of the errors (B, K), and its gradient by pred (B, K, *S), or (0,) without slopes.
  m.def(
      "ewc_loss(Tensor pred, Tensor landmarks, Tensor sigma, Tensor factor, float log_alpha, bool "
      "with_slopes) "
      "-> (Tensor, Tensor)");
  // The same against a given target (B, K, *S).
  m.def(
      "ewc_loss_map(Tensor pred, Tensor target, Tensor factor, float log_alpha, bool with_slopes) "
      "-> (Tensor, Tensor)");

  // landmarks (B, K, D), sigma (B, K) or (B, K, D), height (B, K): 0 draws nothing. -> (B, K, *S)
  m.def(
      "gaussian_heatmap(Tensor landmarks, Tensor sigma, Tensor height, int[] size, int shape, ScalarType "
      "dtype) "
      "-> Tensor");
  // gradient (B, K, *S) -> gradients by landmarks (B, K, D), sigma (of its shape) and height (B, K).
  m.def(
      "gaussian_heatmap_backward(Tensor gradient, Tensor landmarks, Tensor sigma, Tensor height, int shape) "
      "-> (Tensor, Tensor, Tensor)");

  // heatmaps (B, K, *S), features (d, *S) or None for the coordinates.
  // -> expectations (B, K, d), and (B, K, 2): the maximum of beta * h and the sum of the weights.
  m.def(
      "spatial_expectation(Tensor heatmaps, Tensor? features, float beta, bool sigmoid) -> (Tensor, Tensor)");
  // gradient (B, K, d) -> (B, K, *S)
  m.def(
      "spatial_expectation_backward(Tensor gradient, Tensor heatmaps, Tensor? features, Tensor expectation, "
      "Tensor state, float beta, bool sigmoid) -> Tensor");

  // heatmaps (B, K, *S), centers (B, K, D) -> mean distance and sum of the weights, both (B, K).
  m.def("region_distance(Tensor heatmaps, Tensor centers, float[] spacing) -> (Tensor, Tensor)");
  // gradient (B, K) -> gradients by heatmaps (B, K, *S) and by centers (B, K, D).
  m.def(
      "region_distance_backward(Tensor gradient, Tensor heatmaps, Tensor centers, Tensor distance, Tensor "
      "mass, "
      "float[] spacing) -> (Tensor, Tensor)");

  // heatmaps (B, K, *S) -> refined points (B, K, D), pixels of the maxima (B, K, D) int64, their values (B,
  // K).
  m.def("refined_peak(Tensor heatmaps, int method, int radius, float smooth) -> (Tensor, Tensor, Tensor)");

  // volume (Z, Y, X), matrix (4, 4) from pixels of the result to those of the volume, displacement (3, *L) in
  // pixels of the volume at every step-th pixel of the result. -> (*size), of the volume's type. CPU only.
  m.def(
      "resample(Tensor volume, Tensor matrix, int[] size, Tensor? displacement, int[] step, int "
      "interpolation, "
      "int border, float value) -> Tensor");
}
