// From the highest pixel of a map to a position between the pixels.
//
// `Read` is a function of (x, y, z) that returns the map's value at a pixel inside it.
#pragma once

#include "math.h"

namespace mmlandmark {

// Numbered as in mmlandmark/ops/refined_peak.py.
enum class Refinement : int { kNone = 0, kCentroid = 1, kQuadratic = 2, kLogQuadratic = 3 };

struct PeakFrame {
  int64_t pixel[3], size[3];  // (x, y, z); a plane has one slice
  int dims;
};

// Centroid of the positive values within `radius`, which shrinks at the border to stay symmetric.
template <class Number, class Read>
MML_INLINE void refine_by_centroid(const PeakFrame& frame, int64_t radius, const Read& read,
                                   Number point[3]) {
  int64_t reach[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const int64_t before = frame.pixel[i], after = frame.size[i] - 1 - frame.pixel[i];
    const int64_t room = before < after ? before : after;
    reach[i] = radius < room ? radius : room;
  }
  Number total = 0, sum[3] = {0, 0, 0};
  for (int64_t dz = -reach[2]; dz <= reach[2]; ++dz)
    for (int64_t dy = -reach[1]; dy <= reach[1]; ++dy)
      for (int64_t dx = -reach[0]; dx <= reach[0]; ++dx) {
        const Number value = read(frame.pixel[0] + dx, frame.pixel[1] + dy, frame.pixel[2] + dz);
        const Number weight = value < 0 ? Number(0) : value;
        total += weight;
        sum[0] += weight * Number(dx), sum[1] += weight * Number(dy), sum[2] += weight * Number(dz);
      }
  if (!(total > 0)) return;
#pragma unroll
  for (int i = 0; i < 3; ++i) point[i] += sum[i] / total;
}

namespace detail {

template <class Number>
MML_INLINE bool finite(Number x) {
  return x - x == 0;
}

MML_INLINE int64_t clamped(int64_t x, int64_t size) {
  return x < 0 ? 0 : (x < size ? x : size - 1);
}

// The 3 x 3 x 3 pixels around the peak, smoothed by a Gaussian that reaches `reach` pixels; the border's
// values are repeated outside. In a plane only the middle slice is filled.
template <class Number, class Read>
MML_INLINE void neighbourhood(const PeakFrame& frame, Number smooth, int64_t reach, const Read& read,
                              Number values[27]) {
#pragma unroll
  for (int i = 0; i < 27; ++i) values[i] = 0;
  const int64_t depth = frame.dims == 3 ? reach + 1 : 0;
  const auto tap = [&](int64_t step) {
    const bool inside = step >= -reach && step <= reach;
    if (!inside) return Number(0);
    return reach == 0 ? Number(1) : exp_of(Number(-0.5) * Number(step * step) / (smooth * smooth));
  };
  Number norm = 0;
  for (int64_t step = -reach; step <= reach; ++step) norm += tap(step);
  const auto taps = [&](int64_t step, Number* to) {
#pragma unroll
    for (int o = -1; o <= 1; ++o) to[o + 1] = tap(step - o) / norm;
  };
  const bool plane = frame.dims == 2;
  for (int64_t dz = -depth; dz <= depth; ++dz) {
    Number z[3] = {0, 1, 0};
    if (!plane) taps(dz, z);
    for (int64_t dy = -reach - 1; dy <= reach + 1; ++dy) {
      Number y[3];
      taps(dy, y);
      for (int64_t dx = -reach - 1; dx <= reach + 1; ++dx) {
        Number x[3];
        taps(dx, x);
        const Number value =
            read(clamped(frame.pixel[0] + dx, frame.size[0]), clamped(frame.pixel[1] + dy, frame.size[1]),
                 clamped(frame.pixel[2] + dz, frame.size[2]));
#pragma unroll
        for (int i = 0; i < 27; ++i) values[i] += z[i / 9] * y[i / 3 % 3] * x[i % 3] * value;
      }
    }
  }
}

// Gradient and Hessian at the peak from the 27 pixels around it; in a plane the third row and column are
// those of -1.
template <class Number>
struct Fit {
  Number g[3] = {0, 0, 0}, h[3][3] = {{-1, 0, 0}, {0, -1, 0}, {0, 0, -1}};
  bool is_finite = true;

  MML_INLINE Fit(const Number v[27], int dims) {
    // The compiler knows every index: on a GPU the arrays are registers.
    constexpr int middle = 13, step[3] = {1, 3, 9};
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      if (i >= dims) continue;
      g[i] = (v[middle + step[i]] - v[middle - step[i]]) / 2;
      h[i][i] = v[middle + step[i]] - 2 * v[middle] + v[middle - step[i]];
      is_finite = is_finite && finite(g[i]) && finite(h[i][i]);
#pragma unroll
      for (int j = 0; j < 3; ++j) {
        if (j >= i) continue;
        h[i][j] = h[j][i] = (v[middle + step[i] + step[j]] + v[middle - step[i] - step[j]] -
                             v[middle + step[i] - step[j]] - v[middle - step[i] + step[j]]) /
                            4;
        is_finite = is_finite && finite(h[i][j]);
      }
    }
  }

  // All eigenvalues are below -bound, so that -(h + bound) is positive definite (Sylvester).
  MML_INLINE bool is_maximum() const {
    const Number bound =
        (sizeof(Number) == 4 ? Number(1.1920929e-7) : Number(2.220446049250313e-16)) * Number(1e-3);
    const Number a = -h[0][0] - bound, b = -h[1][1] - bound, c = -h[2][2] - bound;
    const Number d = -h[0][1], e = -h[0][2], f = -h[1][2];
    return is_finite && a > 0 && a * b - d * d > 0 &&
           a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e) > 0;
  }

  // -h^-1 g by the adjugate.
  MML_INLINE void newton_step(Number move[3]) const {
    const Number adjugate[3][3] = {
        {h[1][1] * h[2][2] - h[1][2] * h[2][1], h[0][2] * h[2][1] - h[0][1] * h[2][2],
         h[0][1] * h[1][2] - h[0][2] * h[1][1]},
        {h[1][2] * h[2][0] - h[1][0] * h[2][2], h[0][0] * h[2][2] - h[0][2] * h[2][0],
         h[0][2] * h[1][0] - h[0][0] * h[1][2]},
        {h[1][0] * h[2][1] - h[1][1] * h[2][0], h[0][1] * h[2][0] - h[0][0] * h[2][1],
         h[0][0] * h[1][1] - h[0][1] * h[1][0]}};
    const Number determinant = h[0][0] * adjugate[0][0] + h[0][1] * adjugate[1][0] + h[0][2] * adjugate[2][0];
#pragma unroll
    for (int i = 0; i < 3; ++i)
      move[i] = -(adjugate[i][0] * g[0] + adjugate[i][1] * g[1] + adjugate[i][2] * g[2]) / determinant;
  }
};

}  // namespace detail

// One Newton step of a second-order fit to the neighbours, or with `log` to their logarithm (Zhang et al.
// 2020, eq. 9); at most half a pixel per axis, one with smoothing. No step where the fit is no maximum, or
// along an axis at the border.
template <class Number, class Read>
MML_INLINE void refine_by_fit(const PeakFrame& frame, bool log, Number smooth, Number height,
                              const Read& read, Number point[3]) {
  const int64_t reach = int64_t(ceiling_of(3 * smooth));
  Number v[27];
  detail::neighbourhood(frame, smooth, reach, read, v);
  if (log) {
    Number floor = (height < 0 ? -height : height) * Number(1e-6);
    const Number tiny = sizeof(Number) == 4 ? Number(1.17549435e-38) : Number(2.2250738585072014e-308);
    floor = floor > tiny ? floor : tiny;
#pragma unroll
    for (int i = 0; i < 27; ++i)
      if (v[i] == v[i]) v[i] = Number(log_of(double(v[i] > floor ? v[i] : floor)));
  }
  const detail::Fit<Number> fit(v, frame.dims);
  if (!fit.is_maximum()) return;
  Number move[3];
  fit.newton_step(move);
  const Number limit = reach ? Number(1) : Number(0.5);
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    if (i >= frame.dims) continue;
    if (frame.pixel[i] == 0 || frame.pixel[i] == frame.size[i] - 1) continue;
    point[i] += move[i] > limit ? limit : (move[i] < -limit ? -limit : move[i]);
  }
}

template <class Number, class Read>
MML_INLINE void refine_peak(Refinement method, const PeakFrame& frame, int64_t radius, Number smooth,
                            Number height, const Read& read, Number point[3]) {
#pragma unroll
  for (int i = 0; i < 3; ++i) point[i] = Number(frame.pixel[i]);
  if (method == Refinement::kCentroid) refine_by_centroid(frame, radius, read, point);
  if (method == Refinement::kQuadratic || method == Refinement::kLogQuadratic)
    refine_by_fit(frame, method == Refinement::kLogQuadratic, smooth, height, read, point);
}

}  // namespace mmlandmark
