// The Python module mmlandmark._C. Importing it registers the operators; build_info() returns how it was
// built.
#include <pybind11/pybind11.h>
#include <torch/version.h>

#include <string>

#include "cpu/row_kernels.h"

#undef errno  // a macro, and a word of -fno-math-errno
#define MML_TEXT_OF(x) #x
#define MML_TEXT(x) MML_TEXT_OF(x)

#ifndef MMLANDMARK_COMMIT
#define MMLANDMARK_COMMIT unknown
#endif
#ifndef MMLANDMARK_CUDA_ARCHS
#define MMLANDMARK_CUDA_ARCHS none
#endif
#ifndef MMLANDMARK_FLAGS
#define MMLANDMARK_FLAGS unknown
#endif

namespace py = pybind11;

namespace {

py::dict build_info() {
  py::dict info;
#if defined(__clang__)
  info["compiler"] = "clang " __clang_version__;
#elif defined(__GNUC__)
  info["compiler"] = "gcc " __VERSION__;
#else
  info["compiler"] = "unknown";
#endif
  info["flags"] = MML_TEXT(MMLANDMARK_FLAGS);
  info["torch"] = TORCH_VERSION;
#if defined(MMLANDMARK_WITH_CUDA)
  info["cuda"] = MML_TEXT(MMLANDMARK_CUDA_VERSION);
#else
  info["cuda"] = py::none();
#endif
  info["cuda_archs"] = MML_TEXT(MMLANDMARK_CUDA_ARCHS);
#if defined(_OPENMP)
  info["openmp"] = _OPENMP;
#else
  info["openmp"] = py::none();
#endif
  info["cpu_level"] = mmlandmark::cpu_level();
  info["commit"] = MML_TEXT(MMLANDMARK_COMMIT);
  return info;
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native operators of mmlandmark, registered as torch.ops.mmlandmark.";
  m.def("build_info", &build_info, "How this module was built, and the CPU instructions it uses.");
}
