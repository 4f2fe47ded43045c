// The instructions of this processor, asked once.
#include <cstdlib>
#include <cstring>

#include "row_kernels.h"

namespace mmlandmark {

const KernelTable& base_table();
#if defined(__x86_64__)
const KernelTable& avx2_table();
const KernelTable& avx512_table();
#endif

namespace {

struct Level {
  const char* name;
  const KernelTable* table;
};

Level choose() {
  const char* wish = std::getenv("MMLANDMARK_CPU_LEVEL");
  const auto allowed = [wish](const char* level) {
    if (!wish || !*wish || !std::strcmp(wish, level)) return true;
    return !std::strcmp(wish, "avx512");  // the highest allows all
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && allowed("avx512")) return {"avx512", &avx512_table()};
  if (avx2 && allowed("avx2")) return {"avx2", &avx2_table()};
#endif
  return {"base", &base_table()};
}

const Level& level() {
  static const Level chosen = choose();
  return chosen;
}

}  // namespace

const KernelTable& kernel_table() {
  return *level().table;
}
const char* cpu_level() {
  return level().name;
}

}  // namespace mmlandmark
