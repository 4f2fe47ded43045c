"""Compile every CUDA kernel for all supported GPUs, without a GPU and without a torch that has CUDA.

Fails on a warning, and on a kernel that spills registers. Prints registers, stack and shared memory of every
kernel, the most of any GPU.

    mmlandmark check-cuda-compile
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmlandmark.utils.shipped import native_sources

ARCHS = (75, 80, 86, 89, 90, 100)
FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Werror", "all-warnings", "-Xptxas", "-v"]
# The torch side needs this header of a CUDA build; only a syntax check may see it.
STUB = "#define C10_CUDA_BUILD_SHARED_LIBS\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark check-cuda-compile``."""
    parser.add_argument("--archs", type=int, nargs="+", default=list(ARCHS), help="compute capabilities")


def compile_kernels(nvcc: str, source: Path, archs: list[int], folder: Path) -> str:
    """Compile one file for all GPUs, and to PTX for later ones; return what ptxas says.

    Raises:
        ValueError: It does not compile, or not without a warning.
    """
    targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    targets.append(f"-gencode=arch=compute_{max(archs)},code=compute_{max(archs)}")
    command = [nvcc, *FLAGS, *targets, "-c", str(source), "-o", str(folder / f"{source.stem}.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"csrc/cuda/{source.name} does not compile cleanly:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def kernels_of(report: str) -> dict[str, dict[str, int]]:
    """Return registers, stack, spilled bytes and shared memory of every kernel, the most of all GPUs."""
    kernels: dict[str, dict[str, int]] = {}
    name = ""
    for line in report.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            name = match[1]
            kernels.setdefault(name, dict(registers=0, stack=0, spilled=0, shared=0))
        numbers = {}
        if match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill", line):
            numbers = dict(stack=int(match[1]), spilled=int(match[2]) + int(match[3]))
        if match := re.search(r"Used (\d+) registers", line):
            numbers["registers"] = int(match[1])
        if match := re.search(r"(\d+) bytes smem", line):
            numbers["shared"] = int(match[1])
        if name:
            for key, value in numbers.items():
                kernels[name][key] = max(kernels[name][key], value)
    return kernels


def readable(names: list[str]) -> dict[str, str]:
    """Return short names of mangled ones: the kernel and what it is a template of."""
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True).stdout
    short = {}
    for name, line in zip(names, text.splitlines(), strict=True):
        plain = line.replace("mmlandmark::", "").replace("cuda::", "").replace("(anonymous namespace)::", "")
        short[name] = re.sub(r"^void ", "", plain.split("(", 1)[0])
    return short


def cuda_headers() -> Path:
    """Return the folder of cuda_runtime.h, as nvcc knows it."""
    done = subprocess.run(["nvcc", "--dryrun", "-c", "x.cu"], capture_output=True, text=True)
    for folder in re.findall(r'"?-I([^"\s]+)"?', done.stderr):
        if (Path(folder) / "cuda_runtime.h").is_file():
            return Path(folder)
    raise FileNotFoundError("nvcc knows no folder with cuda_runtime.h")


def check_torch_side(folder: Path) -> str:
    """Check the syntax of the torch side; return what was done."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        return "csrc/cuda/operators.cpp: not checked, no C++ compiler"
    from torch.utils.cpp_extension import include_paths

    stub = folder / "c10" / "cuda" / "impl"
    stub.mkdir(parents=True)
    (stub / "cuda_cmake_macros.h").write_text(STUB)
    includes = [f"-I{path}" for path in (*include_paths(), cuda_headers())]
    command = [
        compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Werror", "-Wno-unknown-pragmas", *includes,
        f"-I{folder}", str(native_sources() / "cuda" / "operators.cpp"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"csrc/cuda/operators.cpp does not compile:\n{done.stderr}")
    return "csrc/cuda/operators.cpp: correct beside a stub of torch's CUDA configuration"


def run(args: argparse.Namespace) -> int:
    """Compile and report."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print("no nvcc on this machine: the CUDA kernels were not compiled")
        return 0
    sources = sorted((native_sources() / "cuda").glob("*.cu"))
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(name)
        reports = pool.map(lambda source: compile_kernels(nvcc, source, args.archs, folder), sources)
        kernels = {k: v for report in reports for k, v in kernels_of(report).items()}
        print(check_torch_side(folder))
    names = readable(list(kernels))
    print(f"{'kernel':<70}{'registers':>10}{'stack':>8}{'spilled':>9}{'shared':>8}")
    for kernel in sorted(kernels, key=lambda name: names[name]):
        row = kernels[kernel]
        print(
            f"{names[kernel]:<70}{row['registers']:>10}{row['stack']:>8}{row['spilled']:>9}{row['shared']:>8}"
        )
    archs = ", ".join(f"sm_{arch}" for arch in args.archs)
    print(f"{len(sources)} files, {len(kernels)} kernels for {archs} and PTX, no warning")
    spilling = [names[kernel] for kernel, row in kernels.items() if row["spilled"]]
    if spilling:
        print(f"error: registers are spilled by {', '.join(spilling)}", file=sys.stderr)
    return 1 if spilling else 0
