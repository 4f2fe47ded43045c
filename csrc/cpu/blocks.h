// Blocks of rows, the units of work on the CPU. They do not depend on the number of threads, so that sums
// over blocks, in their order, have the same bits with one thread or many.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include "../common/maps.h"
#include "row_kernels.h"

namespace mmlandmark {

struct Blocks {
  MapLayout layout;
  int64_t rows_per_block, per_map;

  explicit Blocks(const MapLayout& maps) : layout(maps) {
    constexpr int64_t kPixels = 16384;
    rows_per_block = std::max<int64_t>(1, kPixels / std::max<int64_t>(1, maps.size.width));
    per_map = (maps.size.rows() + rows_per_block - 1) / rows_per_block;
  }
  int64_t count() const { return layout.count * per_map; }

  RowRange rows(int64_t block) const {
    const int64_t begin = block % per_map * rows_per_block;
    return {begin,
            std::min(begin + rows_per_block, layout.size.rows()),
            layout.size.height,
            layout.size.width,
            layout.by_slice,
            layout.by_row};
  }

  // visit(block, map, rows) for every block; each thread takes some.
  template <class Visit>
  void each(const Visit& visit) const {
    const int64_t pixels = rows_per_block * layout.size.width;
    at::parallel_for(0, count(), std::max<int64_t>(1, 32768 / pixels), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) visit(block, block / per_map, rows(block));
    });
  }
};

// Call use(kernels, T(), Sum()) with the kernels of a type of element.
template <class Use>
void with_kernels(at::ScalarType type, const Use& use) {
  const KernelTable& table = kernel_table();
  switch (type) {
    case at::kFloat:
      return use(table.float32, float(), float());
    case at::kDouble:
      return use(table.float64, double(), double());
    case at::kBFloat16:
      return use(table.bfloat16, BFloat16Bits(), float());
    case at::kHalf:
      return use(table.float16, HalfBits(), float());
    default:
      TORCH_CHECK_VALUE(false, "maps must be float32, float64, bfloat16 or float16, got ", type);
  }
}

template <class T>
const T* elements(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
template <class T>
T* mutable_elements(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

}  // namespace mmlandmark
