// The rows of the resampler for processors with AVX512. Nothing of a library may come after the pragma.
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(                                                                           \
    __attribute__((target("avx2,fma,f16c,bmi,bmi2,popcnt,sse4.2,avx512f,avx512bw,avx512dq,avx512vl"))), \
    apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,popcnt,sse4.2,avx512f,avx512bw,avx512dq,avx512vl")
#endif

#define MMLANDMARK_RESAMPLE_LEVEL avx512_resample_table
#include "rows.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
