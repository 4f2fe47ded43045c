// Arithmetic that the CPU and the CUDA kernels share, written once for a number and for a vector of numbers.
//
// V is float or double, or (on the CPU) a vector of them: operators and ?: mean the same for both.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define MML_INLINE __host__ __device__ __forceinline__
#else
#define MML_INLINE inline __attribute__((always_inline))
#endif

namespace mmlandmark {

template <class To, class From>
MML_INLINE To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast needs types of one size");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

// The functions of <cmath> that are wanted, without its overloads: some of them would be compiled per level.
#if defined(__CUDA_ARCH__)
MML_INLINE double log_of(double x) {
  return ::log(x);
}
MML_INLINE double root_of(double x) {
  return ::sqrt(x);
}
MML_INLINE float root_of(float x) {
  return ::sqrtf(x);
}
MML_INLINE double ceiling_of(double x) {
  return ::ceil(x);
}
MML_INLINE double floor_of(double x) {
  return ::floor(x);
}
#else
MML_INLINE double log_of(double x) {
  return __builtin_log(x);
}
MML_INLINE double root_of(double x) {
  return __builtin_sqrt(x);
}
MML_INLINE float root_of(float x) {
  return __builtin_sqrtf(x);
}
MML_INLINE double ceiling_of(double x) {
  return __builtin_ceil(x);
}
MML_INLINE double floor_of(double x) {
  return __builtin_floor(x);
}
#endif

// What V is made of, and the integers of the same width. A vector type of the CPU adds its own entry.
template <class V>
struct Element;
template <>
struct Element<float> {
  using Number = float;
  using Integer = int32_t;
};
template <>
struct Element<double> {
  using Number = double;
  using Integer = int64_t;
};

template <class Number>
struct Limits;
template <>
struct Limits<float> {
  static constexpr float kLowestExponent = -87.0f;  // exp() of less is 0
  static constexpr float kHighestExponent = 88.0f;
  static constexpr float kTiny = 1e-19f;       // the square is still a normal number
  static constexpr float kNegligible = 2e-8f;  // 1 + this is 1
};
template <>
struct Limits<double> {
  static constexpr double kLowestExponent = -708.0;
  static constexpr double kHighestExponent = 709.0;
  static constexpr double kTiny = 1e-150;
  static constexpr double kNegligible = 4e-17;
};

namespace detail {

// exp of |r| <= ln(2) / 2.
template <class V>
MML_INLINE V exp_fraction(V r, float) {
  V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * r * r + r + 1.0f;
}
template <class V>
MML_INLINE V exp_fraction(V r, double) {
  V p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  return p * r * r + r + 1.0;
}

template <class Number>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float kHigh = 0.693359375f, kLow = -2.12194440e-4f;
  static constexpr float kPerLn2 = 1.44269504088896341f;
  static constexpr int kBias = 127, kMantissa = 23;
};
template <>
struct ExpConstants<double> {
  static constexpr double kRound = 6755399441055744.0;
  static constexpr double kHigh = 6.93145751953125e-1, kLow = 1.42860682030941723212e-6;
  static constexpr double kPerLn2 = 1.4426950408889634073599;
  static constexpr int kBias = 1023, kMantissa = 52;
};

}  // namespace detail

// e^x within 2 units of the last place; below Limits::kLowestExponent it is 0, and NaN stays NaN.
template <class V>
MML_INLINE V exp_of(V x) {
  using Number = typename Element<V>::Number;
  using Integer = typename Element<V>::Integer;
  using C = detail::ExpConstants<Number>;
  const V low = Limits<Number>::kLowestExponent + V{}, high = Limits<Number>::kHighestExponent + V{};
  V inside = x < low ? low : x;
  inside = inside > high ? high : inside;
  const V shifted = inside * C::kPerLn2 + C::kRound;
  const V whole = shifted - C::kRound;
  const V fraction = inside - whole * C::kHigh - whole * C::kLow;
  const Integer exponent = bit_cast<Integer>(shifted) - bit_cast<Integer>(V{} + C::kRound) + C::kBias;
  const V power = bit_cast<V>(Integer(exponent << C::kMantissa));
  const V result = detail::exp_fraction(fraction, Number()) * power;
  return x < low ? V{} : result;
}

// Numbers too small to matter become 0: products of them would be denormal, and slow.
template <class V>
MML_INLINE V without_tiny(V x) {
  using Number = typename Element<V>::Number;
  const V bound = Limits<Number>::kTiny + V{};
  return x < bound ? V{} : x;
}

}  // namespace mmlandmark
