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

// Some functions of <cmath> without its inline overloads, which would be compiled for every level.
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

// The elements of V, and the integers of the same width. A vector type of the CPU adds its own entry.
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
  static constexpr float kLowestExponent = -87.0f;  // e^x of less is 0
  static constexpr float kHighestExponent = 88.0f;  // e^x of more is that of this
  static constexpr float kLowestPower = -126.0f;    // the same for 2^x
  static constexpr float kHighestPower = 127.0f;
  static constexpr float kTiny = 1e-19f;       // the square is still a normal number
  static constexpr float kNegligible = 2e-8f;  // 1 + this is 1
};
template <>
struct Limits<double> {
  static constexpr double kLowestExponent = -708.0;
  static constexpr double kHighestExponent = 709.0;
  static constexpr double kLowestPower = -1022.0;
  static constexpr double kHighestPower = 1023.0;
  static constexpr double kTiny = 1e-150;
  static constexpr double kNegligible = 4e-17;
};

constexpr double kPowersPerE = 1.4426950408889634073599;  // log2(e)

namespace detail {

// 2^f of |f| <= 1/2: polynomials of the least relative error that are 1 at 0.
template <class V>
MML_INLINE V exp2_fraction(V f, float) {
  V p = f * 1.326914e-3f + 9.671307e-3f;
  p = p * f + 5.550712e-2f;
  p = p * f + 2.4022247e-1f;
  p = p * f + 6.93147e-1f;
  return p * f + 1.0f;
}
template <class V>
MML_INLINE V exp2_fraction(V f, double) {
  V p = f * 4.4549605981865186e-10 + 7.072585949269223e-09;
  p = p * f + 1.0178062445845774e-07;
  p = p * f + 1.321544258792169e-06;
  p = p * f + 1.525273382983612e-05;
  p = p * f + 0.0001540353044173605;
  p = p * f + 0.0013333558146416936;
  p = p * f + 0.009618129107606888;
  p = p * f + 0.0555041086648216;
  p = p * f + 0.24022650695910097;
  p = p * f + 0.6931471805599453;
  return p * f + 1.0;
}

template <class Number>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  // Adding 1.5 * 2^23 rounds to an integer; with the bias of exponents in it, the last bits of the sum are
  // the exponent of that power of two.
  static constexpr float kRound = 12582912.0f + 127.0f;
  static constexpr float kHigh = 0.693359375f, kLow = -2.12194440e-4f;  // ln(2)
  static constexpr int kMantissa = 23;
};
template <>
struct ExpConstants<double> {
  static constexpr double kRound = 6755399441055744.0 + 1023.0;
  static constexpr double kHigh = 6.93145751953125e-1, kLow = 1.42860682030941723212e-6;
  static constexpr int kMantissa = 52;
};

// 2^(whole + fraction), of which `shifted` is whole + kRound.
template <class V>
MML_INLINE V exp2_of_parts(V shifted, V fraction) {
  using Number = typename Element<V>::Number;
  using Integer = typename Element<V>::Integer;
  const Integer exponent = bit_cast<Integer>(shifted) << ExpConstants<Number>::kMantissa;
  // A product, not a sum of integers: NaN stays NaN, whatever its bits.
  return exp2_fraction(fraction, Number()) * bit_cast<V>(exponent);
}

}  // namespace detail

// 2^x of x <= Limits::kHighestPower, which is not checked; otherwise as exp2_of().
template <class V>
MML_INLINE V exp2_of_low(V x) {
  using Number = typename Element<V>::Number;
  constexpr Number kRound = detail::ExpConstants<Number>::kRound;
  const V shifted = x + kRound;
  const V result = detail::exp2_of_parts(shifted, V(x - (shifted - kRound)));
  return x < V{} + Limits<Number>::kLowestPower ? V{} : result;
}

// 2^x within 2.5 units of the last place, exact at 0; NaN stays NaN, for the rest see Limits.
template <class V>
MML_INLINE V exp2_of(V x) {
  // In this order of operands a minimum is one instruction, and NaN stays NaN.
  const V high = V{} + Limits<typename Element<V>::Number>::kHighestPower;
  return exp2_of_low(V(high < x ? high : x));
}

// e^x, equally exact.
template <class V>
MML_INLINE V exp_of(V x) {
  using Number = typename Element<V>::Number;
  using C = detail::ExpConstants<Number>;
  const V high = V{} + Limits<Number>::kHighestExponent;
  const V inside = high < x ? high : x;
  const V shifted = inside * Number(kPowersPerE) + C::kRound;
  const V whole = shifted - C::kRound;
  const V rest = inside - whole * C::kHigh - whole * C::kLow;
  const V result = detail::exp2_of_parts(shifted, V(rest * Number(kPowersPerE)));
  return x < V{} + Limits<Number>::kLowestExponent ? V{} : result;
}

// Numbers too small to matter become 0: products of them would be denormal, and slow.
template <class V>
MML_INLINE V without_tiny(V x) {
  using Number = typename Element<V>::Number;
  const V bound = Limits<Number>::kTiny + V{};
  return x < bound ? V{} : x;
}

}  // namespace mmlandmark
