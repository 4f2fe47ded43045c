// The Exponential Weighted Center error of one pixel (FARNet, Ao and Wu 2023, eq. 3).
#pragma once

#include "math.h"

namespace mmlandmark {

// error = (p - y)^2 * weight and slope = its derivative by p, with weight = alpha^y.
template <class V>
MML_INLINE void ewc_pixel(V prediction, V target, V weight, V& error, V& slope) {
  const V difference = prediction - target;
  const V pull = difference * weight;
  error = pull * difference;
  slope = pull + pull;
}

// alpha^y from ln(alpha).
template <class V>
MML_INLINE V ewc_weight(V target, typename Element<V>::Number log_alpha) {
  return exp_of(target * log_alpha);
}

}  // namespace mmlandmark
