// Memory for the maps that an operator writes.
#pragma once

#include <ATen/core/Tensor.h>

namespace mmlandmark {

// An uninitialised tensor, in pages of 2 MiB where it is large and Linux has them: mapping and clearing pages
// of 4 KiB takes ten times as long as writing the maps. MMLANDMARK_HUGE_PAGES=0 leaves the pages to the
// system.
at::Tensor new_maps(at::IntArrayRef size, const at::TensorOptions& options);

}  // namespace mmlandmark
