// One row of a resampled volume: positions, neighbours with their weights, values, and their rounding.
//
// A neighbour j of a position c has the weight max(0, 1 - |c - j|). Beyond the border, that is less than one
// in total, and what is missing is the share of the border's value; positions of the other borders are led
// back into the volume before.
#pragma once

#include "row_kernels.h"

namespace mmlandmark {
namespace {  // every level compiles its own

MML_INLINE float widened(uint8_t x) {
  return x;
}
MML_INLINE float widened(int16_t x) {
  return x;
}
MML_INLINE float widened(uint16_t x) {
  return x;
}
MML_INLINE float widened(float x) {
  return x;
}
MML_INLINE float widened(HalfBits x) {
  return float_from_half<float>(uint32_t(bit_cast<uint16_t>(x)));
}

// Rounded to the nearest integer, of two the even one, for |x| < 2^22.
MML_INLINE float rounded(float x) {
  const float shift = x < 0 ? -12582912.0f : 12582912.0f;
  return (x + shift) - shift;
}
// Of numbers that fit; those that are not numbers become `low`.
MML_INLINE float limited(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}
MML_INLINE int32_t floor_of_small(float x) {
  const int32_t cut = int32_t(x);
  return cut - (float(cut) > x);
}
MML_INLINE float hat(float distance) {
  const float weight = 1.0f - (distance < 0 ? -distance : distance);
  return weight > 0 ? weight : 0.0f;
}

template <class T>
struct Limits;
template <>
struct Limits<uint8_t> {
  static constexpr float low = 0, high = 255;
};
template <>
struct Limits<int16_t> {
  static constexpr float low = -32768, high = 32767;
};
template <>
struct Limits<uint16_t> {
  static constexpr float low = 0, high = 65535;
};

template <class T>
MML_INLINE void store(const float* values, int64_t width, T* row) {
  for (int64_t x = 0; x < width; ++x)
    row[x] = T(int32_t(rounded(limited(values[x], Limits<T>::low, Limits<T>::high))));
}
template <>
MML_INLINE void store(const float* values, int64_t width, float* row) {
  for (int64_t x = 0; x < width; ++x) row[x] = values[x];
}
template <>
MML_INLINE void store(const float* values, int64_t width, HalfBits* row) {
  for (int64_t x = 0; x < width; ++x)
    row[x] = bit_cast<HalfBits>(uint16_t(half_from_float<uint32_t>(values[x])));
}

// Where the row is read along one axis, in pixels of the volume.
MML_INLINE void positions_along(const ResampleFrame& frame, int axis, int64_t y, int64_t z,
                                const ResampleScratch& scratch) {
  const double* m = frame.matrix[axis];
  const float start = float(m[1] * double(y) + m[2] * double(z) + m[3]), step = float(m[0]);
  float* position = scratch.position[axis];
  for (int64_t x = 0; x < frame.width; ++x) position[x] = start + step * float(int32_t(x));
  if (!frame.nodes) return;
  // Interpolates the lattice to the row, then along it.
  const int64_t columns = frame.node_size[0], rows = frame.node_size[1];
  const int64_t step_x = frame.step[0], node_y = y / frame.step[1], node_z = z / frame.step[2];
  const int64_t next_y = node_y + 1 < rows ? columns : 0;
  const int64_t next_z = node_z + 1 < frame.node_size[2] ? rows * columns : 0;
  const float by_step = 1.0f / float(step_x);
  const float v = float(y % frame.step[1]) / float(frame.step[1]);
  const float w = float(z % frame.step[2]) / float(frame.step[2]);
  const float* a = frame.nodes + ((axis * frame.node_size[2] + node_z) * rows + node_y) * columns;
  const float *b = a + next_y, *c = a + next_z, *d = c + next_y;
  float* line = scratch.displacement;
  for (int64_t i = 0; i < columns; ++i) {
    const float front = a[i] + v * (b[i] - a[i]), back = c[i] + v * (d[i] - c[i]);
    line[i] = front + w * (back - front);
  }
  for (int64_t i = 0, x = 0; x < frame.width; ++i, x += step_x) {
    const int64_t count = x + step_x < frame.width ? step_x : frame.width - x;
    const float slope = i + 1 < columns ? (line[i + 1] - line[i]) * by_step : 0.0f;
    for (int64_t k = 0; k < count; ++k) position[x + k] += line[i] + slope * float(int32_t(k));
  }
}

// Leads positions beyond the border back into [0, side - 1]; with a constant border, limits them to where
// nothing but the border is seen.
MML_INLINE void within_border(const ResampleFrame& frame, int axis, float* position) {
  const float side = float(frame.axes[axis].side);
  if (frame.border == Border::kReflect) {
    // Mirrored at the outer edges of the outer pixels, again and again.
    const float period = 2 * side, by_period = 1.0f / period;
    for (int64_t x = 0; x < frame.width; ++x) {
      float shifted = limited(position[x], -1e6f, 1e6f) + 0.5f;
      shifted -= period * float(floor_of_small(shifted * by_period));
      position[x] = (shifted > side ? period - shifted : shifted) - 0.5f;
    }
  }
  const float beyond = frame.border == Border::kConstant ? 1.0f : 0.0f;
  for (int64_t x = 0; x < frame.width; ++x) position[x] = limited(position[x], -beyond, side - 1 + beyond);
}

// The lower neighbour of every position; the upper one follows it, unless the side is one.
MML_INLINE void places_along(const ResampleFrame& frame, int axis, const float* position, int32_t* place) {
  const int32_t side = int32_t(frame.axes[axis].side), last = side > 1 ? side - 2 : 0;
  for (int64_t x = 0; x < frame.width; ++x) {
    int32_t lower = floor_of_small(position[x]);
    lower = lower > 0 ? lower : 0;
    place[x] = lower < last ? lower : last;
  }
}

template <class T>
MML_INLINE void nearest_row(const T* volume, const ResampleFrame& frame, const ResampleScratch& scratch,
                            float* values) {
  for (int64_t x = 0; x < frame.width; ++x) {
    int64_t offset = 0;
    bool inside = true;
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t place = int64_t(rounded(scratch.position[axis][x]));
      inside &= place >= 0 && place < frame.axes[axis].side;
      offset += place * frame.axes[axis].stride;
    }
    values[x] = inside ? widened(volume[offset]) : frame.value;
  }
}

template <class T>
MML_INLINE void linear_row(const T* volume, const ResampleFrame& frame, const ResampleScratch& scratch,
                           float* values) {
  const SourceAxis* axes = frame.axes;
  // A volume of one slice has no second neighbour, whose weight is 0.
  const int64_t dx = axes[0].side > 1 ? axes[0].stride : 0, dy = axes[1].side > 1 ? axes[1].stride : 0;
  const int64_t dz = axes[2].side > 1 ? axes[2].stride : 0;
  const float has_x = axes[0].side > 1, has_y = axes[1].side > 1, has_z = axes[2].side > 1;
  const float border = frame.value;
  for (int64_t x = 0; x < frame.width; ++x) {
    const int32_t px = scratch.place[0][x], py = scratch.place[1][x], pz = scratch.place[2][x];
    const float tx = scratch.position[0][x] - float(px), ty = scratch.position[1][x] - float(py);
    const float tz = scratch.position[2][x] - float(pz);
    const float x0 = hat(tx), x1 = hat(tx - 1) * has_x, y0 = hat(ty), y1 = hat(ty - 1) * has_y;
    const float z0 = hat(tz), z1 = hat(tz - 1) * has_z;
    const T* at = volume + px * axes[0].stride + py * axes[1].stride + pz * axes[2].stride;
    const float a = x0 * widened(at[0]) + x1 * widened(at[dx]);
    const float b = x0 * widened(at[dy]) + x1 * widened(at[dy + dx]);
    const float c = x0 * widened(at[dz]) + x1 * widened(at[dz + dx]);
    const float d = x0 * widened(at[dz + dy]) + x1 * widened(at[dz + dy + dx]);
    const float inside = (x0 + x1) * (y0 + y1) * (z0 + z1);
    values[x] = z0 * (y0 * a + y1 * b) + z1 * (y0 * c + y1 * d) + (1 - inside) * border;
  }
}

// A row along x of the volume: the four lines of the volume around it become one, then that is read.
template <class T>
MML_INLINE void straight_row(const T* volume, const ResampleFrame& frame, const ResampleScratch& scratch,
                             float* values) {
  const SourceAxis* axes = frame.axes;
  const int64_t dy = axes[1].side > 1 ? axes[1].stride : 0, dz = axes[2].side > 1 ? axes[2].stride : 0;
  const float has_x = axes[0].side > 1, has_y = axes[1].side > 1, has_z = axes[2].side > 1;
  const float ty = scratch.position[1][0] - float(scratch.place[1][0]);
  const float tz = scratch.position[2][0] - float(scratch.place[2][0]);
  const float y0 = hat(ty), y1 = hat(ty - 1) * has_y, z0 = hat(tz), z1 = hat(tz - 1) * has_z;
  const float border = frame.value, seen = (y0 + y1) * (z0 + z1), unseen = (1 - seen) * border;
  int32_t first = scratch.place[0][0], last = scratch.place[0][frame.width - 1];
  if (first > last) {
    const int32_t other = first;
    first = last;
    last = other;
  }
  const int64_t count = last - first + (axes[0].side > 1 ? 2 : 1), stride = axes[0].stride;
  const T* a =
      volume + first * stride + scratch.place[1][0] * axes[1].stride + scratch.place[2][0] * axes[2].stride;
  const T *b = a + dy, *c = a + dz, *d = c + dy;
  const float wa = y0 * z0, wb = y1 * z0, wc = y0 * z1, wd = y1 * z1;
  float* line = scratch.blend;
  if (stride == 1)
    for (int64_t i = 0; i < count; ++i)
      line[i] = wa * widened(a[i]) + wb * widened(b[i]) + wc * widened(c[i]) + wd * widened(d[i]) + unseen;
  else
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = i * stride;
      line[i] =
          wa * widened(a[at]) + wb * widened(b[at]) + wc * widened(c[at]) + wd * widened(d[at]) + unseen;
    }
  line[count] = 0;  // the neighbour of a volume of one column, whose weight is 0
  for (int64_t x = 0; x < frame.width; ++x) {
    const int32_t place = scratch.place[0][x];
    const float tx = scratch.position[0][x] - float(place), x0 = hat(tx), x1 = hat(tx - 1) * has_x;
    values[x] = x0 * line[place - first] + x1 * line[place - first + 1] + (1 - x0 - x1) * border;
  }
}

template <class T>
void resample_row(const T* volume, const ResampleFrame& frame, int64_t y, int64_t z,
                  const ResampleScratch& scratch, T* row) {
  for (int axis = 0; axis < 3; ++axis) {
    positions_along(frame, axis, y, z, scratch);
    within_border(frame, axis, scratch.position[axis]);
  }
  if (frame.interpolation == Interpolation::kNearest) {
    nearest_row(volume, frame, scratch, scratch.values);
  } else {
    for (int axis = 0; axis < 3; ++axis)
      places_along(frame, axis, scratch.position[axis], scratch.place[axis]);
    const bool straight = frame.matrix[1][0] == 0 && frame.matrix[2][0] == 0 && !frame.nodes &&
                          frame.border != Border::kReflect;
    if (straight)
      straight_row(volume, frame, scratch, scratch.values);
    else
      linear_row(volume, frame, scratch, scratch.values);
  }
  store(scratch.values, frame.width, row);
}

}  // namespace

const ResampleTable& MMLANDMARK_RESAMPLE_LEVEL() {
  static const ResampleTable table{resample_row<uint8_t>, resample_row<int16_t>, resample_row<uint16_t>,
                                   resample_row<HalfBits>, resample_row<float>};
  return table;
}

}  // namespace mmlandmark
