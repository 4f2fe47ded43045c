// Memory for the maps that an operator writes.
#include "new_maps.h"

#include <ATen/ops/empty.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace mmlandmark {
namespace {

#if defined(__linux__)
constexpr uintptr_t kHugePage = uintptr_t(1) << 21;

bool wanted() {
  static const bool wish = [] {
    const char* said = std::getenv("MMLANDMARK_HUGE_PAGES");
    return !said || std::strcmp(said, "0") != 0;
  }();
  return wish;
}

// Only pages that belong to the tensor alone, so that it takes no more memory.
void ask_for_huge_pages(void* memory, size_t bytes) {
  const uintptr_t start = (reinterpret_cast<uintptr_t>(memory) + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) & ~(kHugePage - 1);
  // A kernel without huge pages refuses, which does no harm.
  if (start < end) (void)madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
}
#endif

}  // namespace

at::Tensor new_maps(at::IntArrayRef size, const at::TensorOptions& options) {
  at::Tensor maps = at::empty(size, options);
#if defined(__linux__)
  if (wanted()) ask_for_huge_pages(maps.mutable_data_ptr(), maps.nbytes());
#endif
  return maps;
}

}  // namespace mmlandmark
