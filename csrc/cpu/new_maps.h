// Memory for maps that an operator is about to write.
#pragma once

#include <ATen/core/Tensor.h>

namespace mmlandmark {

// An uninitialised tensor, in pages of 2 MiB where it is large and Linux has them: to map and clear a new
// tensor in pages of 4 KiB takes ten times longer than to write it. MMLANDMARK_HUGE_PAGES=0 leaves it to
// the system.
at::Tensor new_maps(at::IntArrayRef size, const at::TensorOptions& options);

}  // namespace mmlandmark
