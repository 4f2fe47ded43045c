// Vectors as wide as the registers of the level (compilers split wider ones into single numbers); loads and
// stores convert.
#pragma once

#include "../../common/half.h"
#include "../row_kernels.h"

#if !defined(MMLANDMARK_VECTOR_BYTES)
#define MMLANDMARK_VECTOR_BYTES 16  // SSE2, NEON
#endif

namespace mmlandmark {
namespace {  // every level compiles its own

typedef float FloatLanes __attribute__((vector_size(MMLANDMARK_VECTOR_BYTES)));
typedef int32_t Int32Lanes __attribute__((vector_size(MMLANDMARK_VECTOR_BYTES)));
typedef uint32_t UInt32Lanes __attribute__((vector_size(MMLANDMARK_VECTOR_BYTES)));
typedef uint16_t UInt16Lanes __attribute__((vector_size(MMLANDMARK_VECTOR_BYTES / 2)));
typedef double DoubleLanes __attribute__((vector_size(MMLANDMARK_VECTOR_BYTES)));
typedef int64_t Int64Lanes __attribute__((vector_size(MMLANDMARK_VECTOR_BYTES)));

}  // namespace

template <>
struct Element<FloatLanes> {
  using Number = float;
  using Integer = Int32Lanes;
};
template <>
struct Element<DoubleLanes> {
  using Number = double;
  using Integer = Int64Lanes;
};

namespace {

// Vector of a type of sums.
template <class Sum>
struct LanesOf;
template <>
struct LanesOf<float> {
  using Type = FloatLanes;
};
template <>
struct LanesOf<double> {
  using Type = DoubleLanes;
};
template <class Sum>
using Lanes = typename LanesOf<Sum>::Type;
template <class Sum>
constexpr int64_t kLanes = MMLANDMARK_VECTOR_BYTES / sizeof(Sum);

template <class V, class P>
MML_INLINE V read_raw(const P* from) {
  V value;
  memcpy(&value, from, sizeof(V));
  return value;
}

MML_INLINE FloatLanes load_lanes(const float* from) {
  return read_raw<FloatLanes>(from);
}
MML_INLINE DoubleLanes load_lanes(const double* from) {
  return read_raw<DoubleLanes>(from);
}
MML_INLINE FloatLanes load_lanes(const BFloat16Bits* from) {
  return float_from_bfloat16<FloatLanes>(__builtin_convertvector(read_raw<UInt16Lanes>(from), UInt32Lanes));
}
MML_INLINE FloatLanes load_lanes(const HalfBits* from) {
  return float_from_half<FloatLanes>(__builtin_convertvector(read_raw<UInt16Lanes>(from), UInt32Lanes));
}

MML_INLINE void store_lanes(float* to, const FloatLanes& value) {
  memcpy(to, &value, sizeof(value));
}
MML_INLINE void store_lanes(double* to, const DoubleLanes& value) {
  memcpy(to, &value, sizeof(value));
}
MML_INLINE void store_lanes(BFloat16Bits* to, const FloatLanes& value) {
  const auto narrow = __builtin_convertvector(bfloat16_from_float<UInt32Lanes>(value), UInt16Lanes);
  memcpy(to, &narrow, sizeof(narrow));
}
MML_INLINE void store_lanes(HalfBits* to, const FloatLanes& value) {
  const auto narrow = __builtin_convertvector(half_from_float<UInt32Lanes>(value), UInt16Lanes);
  memcpy(to, &narrow, sizeof(narrow));
}

// The first `count` elements; the rest is `fill`.
template <class Sum, class T>
MML_INLINE Lanes<Sum> load_some(const T* from, int64_t count, Sum fill = 0) {
  T buffer[kLanes<Sum>];
  memset(buffer, 0, sizeof(buffer));
  memcpy(buffer, from, count * sizeof(T));
  Lanes<Sum> value = load_lanes(buffer);
  if (fill != 0)
    for (int64_t i = count; i < kLanes<Sum>; ++i) value[i] = fill;
  return value;
}
template <class T, class V>
MML_INLINE void store_some(T* to, const V& value, int64_t count) {
  T buffer[sizeof(V) / sizeof(value[0])];
  store_lanes(buffer, value);
  memcpy(to, buffer, count * sizeof(T));
}

template <class V>
MML_INLINE V counting_from(typename Element<V>::Number start) {
  V value;
  for (unsigned i = 0; i < sizeof(V) / sizeof(value[0]); ++i) value[i] = start + i;
  return value;
}

template <class V>
MML_INLINE double sum_of(const V& value) {
  double total = 0;
  for (unsigned i = 0; i < sizeof(V) / sizeof(value[0]); ++i) total += value[i];
  return total;
}
template <class V>
MML_INLINE typename Element<V>::Number largest_of(const V& value) {
  auto top = value[0];
  for (unsigned i = 1; i < sizeof(V) / sizeof(value[0]); ++i) top = value[i] > top ? value[i] : top;
  return top;
}
template <class V>
MML_INLINE V square_root(const V& value) {
  V root;
  for (unsigned i = 0; i < sizeof(V) / sizeof(value[0]); ++i) root[i] = root_of(value[i]);
  return root;
}

// Call visit(x, count) for every full vector of a row, then once for what is left.
template <class Sum, class Full, class Part>
MML_INLINE void over_row(int64_t begin, int64_t width, const Full& full, const Part& part) {
  int64_t x = begin;
  for (; x + kLanes<Sum> <= width; x += kLanes<Sum>) full(x);
  if (x < width) part(x, width - x);
}

}  // namespace
}  // namespace mmlandmark
