// The exponentials behind plain C functions, for ctypes: of numbers, and of vectors of as many bytes as asked
// for.
#include "../../../csrc/cpu/rows/lanes.h"

using namespace mmlandmark;

namespace {

template <class V>
V power(V x, bool of_two) {
  return of_two ? exp2_of(x) : exp_of(x);
}

template <class Number>
void evaluate(const Number* from, Number* to, int64_t count, bool of_two, bool vectors) {
  int64_t i = 0;
  for (; vectors && i + kLanes<Number> <= count; i += kLanes<Number>)
    store_lanes(to + i, power(load_lanes(from + i), of_two));
  for (; i < count; ++i) to[i] = power(from[i], of_two);
}

}  // namespace

extern "C" {

void evaluate_float(const float* from, float* to, int64_t count, bool of_two, bool vectors) {
  evaluate(from, to, count, of_two, vectors);
}
void evaluate_double(const double* from, double* to, int64_t count, bool of_two, bool vectors) {
  evaluate(from, to, count, of_two, vectors);
}
}
