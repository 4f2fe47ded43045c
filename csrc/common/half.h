// 16-bit numbers to float and back, written once for a number and for a vector of numbers.
//
// F is float or a vector of it, U the unsigned integers of the same width.
#pragma once

#include "math.h"

namespace mmlandmark {

template <class F, class U>
MML_INLINE F float_from_bfloat16(U bits) {
  return bit_cast<F>(U(bits << 16));
}

template <class U, class F>
MML_INLINE U bfloat16_from_float(F value) {
  const U bits = bit_cast<U>(value);
  const U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const U not_a_number = U{} + 0x7fc0u;
  return (bits & 0x7fffffffu) > U{} + 0x7f800000u ? not_a_number : rounded;
}

template <class F, class U>
MML_INLINE F float_from_half(U bits) {
  const U magnitude = (bits & 0x7fffu) << 13, sign = (bits & 0x8000u) << 16;
  // 2^112 moves the exponent from half's bias to float's, and makes subnormal halves normal floats.
  const F scaled = bit_cast<F>(magnitude) * 5.192296858534828e33f;
  const U special = magnitude | 0x7f800000u;  // infinity and NaN
  const U value = magnitude >= U{} + 0x0f800000u ? special : bit_cast<U>(scaled);
  return bit_cast<F>(U(value | sign));
}

template <class U, class F>
MML_INLINE U half_from_float(F value) {
  const U bits = bit_cast<U>(value);
  const U sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  const U normal = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
  // Adding 0.5 lets the float unit round a subnormal half to its last bit.
  const F lifted = bit_cast<F>(magnitude) + 0.5f;
  const U subnormal = bit_cast<U>(lifted) - 0x3f000000u;
  const U infinite = U{} + 0x7c00u, not_a_number = U{} + 0x7e00u;
  U result = magnitude < U{} + 0x38800000u ? subnormal : normal;
  result = magnitude >= U{} + 0x477ff000u ? infinite : result;
  result = magnitude > U{} + 0x7f800000u ? not_a_number : result;
  return result | sign;
}

}  // namespace mmlandmark
