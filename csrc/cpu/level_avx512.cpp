// The row kernels for processors with AVX512. Nothing of a library may come after the pragma.
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

#define MMLANDMARK_LEVEL avx512_table
#define MMLANDMARK_VECTOR_BYTES 64
#include "rows/table.inc"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
