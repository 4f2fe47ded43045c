// Sampling of a volume at the pixels of another frame, on the CPU: checks, memory, threads.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstring>
#include <limits>
#include <vector>

#include "../cpu/row_kernels.h"  // cpu_level()
#include "row_kernels.h"

namespace mmlandmark {
namespace {

const ResampleTable& resample_table() {
#if defined(__x86_64__)
  if (!std::strcmp(cpu_level(), "avx512")) return avx512_resample_table();
  if (!std::strcmp(cpu_level(), "avx2")) return avx2_resample_table();
#endif
  return base_resample_table();
}

void check(const at::Tensor& volume, const at::Tensor& matrix, at::IntArrayRef size,
           const std::optional<at::Tensor>& displacement, at::IntArrayRef step) {
  TORCH_CHECK_VALUE(volume.dim() == 3 && volume.numel() > 0, "volume must be (Z, Y, X), got ",
                    volume.sizes());
  for (int64_t side : volume.sizes())  // positions are floats
    TORCH_CHECK_VALUE(side < (1 << 22), "volume has a side of more than 2^22: ", volume.sizes());
  TORCH_CHECK_VALUE(matrix.sizes() == at::IntArrayRef({4, 4}) && matrix.scalar_type() == at::kDouble,
                    "matrix must be (4, 4) float64, got ", matrix.sizes(), " ", matrix.scalar_type());
  TORCH_CHECK_VALUE(size.size() == 3, "size must be (Z, Y, X), got ", size);
  for (int64_t side : size)
    TORCH_CHECK_VALUE(side > 0 && side < (1 << 22), "size must have sides of 1 to 2^22, got ", size);
  TORCH_CHECK_VALUE(step.size() == 3 && step[0] > 0 && step[1] > 0 && step[2] > 0,
                    "step must be three positive numbers, got ", step);
  if (!displacement) return;
  const at::IntArrayRef nodes = displacement->sizes();
  TORCH_CHECK_VALUE(nodes.size() == 4 && nodes[0] == 3 && displacement->scalar_type() == at::kFloat,
                    "displacement must be (3, *L) float32, got ", nodes, " ", displacement->scalar_type());
  for (size_t axis = 0; axis < 3; ++axis)
    TORCH_CHECK_VALUE((nodes[axis + 1] - 1) * step[axis] >= size[axis] - 1, "displacement ", nodes,
                      " does not cover ", size, " with a node at every ", step, " pixels");
}

template <class T>
void resample_rows(ResampleRow<T> resample_row, const at::Tensor& volume, const ResampleFrame& frame,
                   at::Tensor& result) {
  const int64_t height = result.size(1), width = frame.width;
  const T* from = static_cast<const T*>(volume.const_data_ptr());
  T* to = static_cast<T*>(result.mutable_data_ptr());
  const int64_t grain = std::max<int64_t>(1, 16384 / width);
  at::parallel_for(0, result.size(0) * height, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> numbers(4 * width + frame.node_size[0] + frame.axes[0].side + 2);
    std::vector<int32_t> places(3 * width);
    float* next = numbers.data();
    ResampleScratch scratch{};
    for (int axis = 0; axis < 3; ++axis) {
      scratch.position[axis] = next + axis * width;
      scratch.place[axis] = places.data() + axis * width;
    }
    scratch.values = next + 3 * width;
    scratch.displacement = next + 4 * width;
    scratch.blend = scratch.displacement + frame.node_size[0];
    for (int64_t row = begin; row < end; ++row)
      resample_row(from, frame, row % height, row / height, scratch, to + row * width);
  });
}

// volume (Z, Y, X) read at matrix * q + displacement(q) for all pixels q of a frame. -> (*size)
at::Tensor resample(const at::Tensor& volume, const at::Tensor& matrix, at::IntArrayRef size,
                    const std::optional<at::Tensor>& displacement, at::IntArrayRef step,
                    int64_t interpolation, int64_t border, double value) {
  check(volume, matrix, size, displacement, step);
  const at::Tensor rows = matrix.contiguous();
  const at::Tensor nodes = displacement ? displacement->contiguous() : at::Tensor();
  ResampleFrame frame{};
  for (int axis = 0; axis < 3; ++axis) {
    frame.axes[axis] = {volume.size(2 - axis), volume.stride(2 - axis)};
    std::memcpy(frame.matrix[axis], rows.const_data_ptr<double>() + 4 * axis, sizeof(frame.matrix[axis]));
    frame.node_size[axis] = displacement ? nodes.size(3 - axis) : 0;
    frame.step[axis] = step[2 - axis];
  }
  frame.width = size[2];
  frame.nodes = displacement ? nodes.const_data_ptr<float>() : nullptr;
  frame.interpolation = static_cast<Interpolation>(interpolation);
  frame.border = static_cast<Border>(border);
  frame.value = static_cast<float>(value);
  at::Tensor result = at::empty(size, volume.options());
  const ResampleTable& table = resample_table();
  switch (volume.scalar_type()) {
    case at::kByte:
      resample_rows(table.uint8, volume, frame, result);
      break;
    case at::kShort:
      resample_rows(table.int16, volume, frame, result);
      break;
    case at::kUInt16:
      resample_rows(table.uint16, volume, frame, result);
      break;
    case at::kHalf:
      resample_rows(table.float16, volume, frame, result);
      break;
    case at::kFloat:
      resample_rows(table.float32, volume, frame, result);
      break;
    default:
      TORCH_CHECK_VALUE(false, "volume must be uint8, int16, uint16, float16 or float32, got ",
                        volume.scalar_type());
  }
  return result;
}

}  // namespace
}  // namespace mmlandmark

TORCH_LIBRARY_IMPL(mmlandmark, CPU, m) {
  m.impl("resample", &mmlandmark::resample);
}
