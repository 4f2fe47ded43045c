// The weight of a pixel in a spatial expectation, softmax or sigmoid of beta * h, as a power of two:
// e^(beta h) = 2^(rate h) with rate = beta log2(e) takes one step less per pixel.
#pragma once

#include "math.h"

namespace mmlandmark {

MML_INLINE double rate_of(double beta) {
  return beta * kPowersPerE;
}

// `top` is the highest value, so that no weight is above 1. Where all values are minus infinity it is 0: the
// weights are then 0 instead of NaN.
template <class V>
MML_INLINE V softmax_weight(V value, typename Element<V>::Number rate, typename Element<V>::Number top) {
  return exp2_of_low(V((value - top) * rate));
}

template <class V>
MML_INLINE V sigmoid_weight(V value, typename Element<V>::Number rate) {
  using Number = typename Element<V>::Number;
  return Number(1) / (exp2_of(V(value * -rate)) + Number(1));
}

// s (1 - s) of a sigmoid s, from |value|, which keeps it exact on both sides; rate > 0.
template <class V>
MML_INLINE V sigmoid_slope(V value, typename Element<V>::Number rate) {
  using Number = typename Element<V>::Number;
  const V e = exp2_of(value < V{} ? V(value * rate) : V(value * -rate));
  return e / ((e + Number(1)) * (e + Number(1)));
}

}  // namespace mmlandmark
