"""The exponential of all native operators: its error, and special numbers."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from test_ops.test_cuda_kernels import COMPILER

SOURCE = Path(__file__).parent / "exponential" / "harness.cpp"
INSTRUCTIONS = {
    "base": [],
    "avx2": ["-mavx2", "-mfma", "-DMMLANDMARK_VECTOR_BYTES=32"],
    "avx512": [
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mfma",
        "-DMMLANDMARK_VECTOR_BYTES=64",
    ],
}
MOST_ULPS = 2.5
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.fixture(scope="module", params=list(INSTRUCTIONS))
def exponential(request, tmp_path_factory):
    """Return a function (numbers, of_two, vectors) -> powers, compiled for a level of instructions."""
    present = {"AVX2": ["avx2"], "AVX512": ["avx2", "avx512"]}.get(
        torch.backends.cpu.get_cpu_capability(), []
    )
    if request.param not in ("base", *present):
        pytest.skip(f"the processor has no {request.param}")
    path = tmp_path_factory.mktemp("exponential") / "exponential.so"
    command = [
        COMPILER, "-std=c++20", "-O2", "-fno-math-errno", "-Wall", "-Wno-psabi", "-shared", "-fPIC",
        *INSTRUCTIONS[request.param], str(SOURCE), "-o", str(path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(path))

    def evaluate(numbers: np.ndarray, of_two: bool, vectors: bool) -> np.ndarray:
        actual = np.full_like(numbers, -1)
        function = library.evaluate_float if numbers.dtype == np.float32 else library.evaluate_double
        function(
            *(ctypes.c_void_p(array.ctypes.data) for array in (numbers, actual)),
            ctypes.c_int64(len(numbers)), ctypes.c_bool(of_two), ctypes.c_bool(vectors),
        )  # fmt: skip
        return actual

    return evaluate


def range_of(dtype, of_two: bool) -> tuple[float, float]:
    """Return between which arguments a power is neither 0 nor cut off."""
    if dtype == np.float32:
        return (-126, 127) if of_two else (-87, 88)
    return (-1022, 1023) if of_two else (-708, 709)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("of_two", [True, False])
@pytest.mark.parametrize("vectors", [True, False])
def test_error_in_units_of_the_last_place(exponential, dtype, of_two, vectors):
    if dtype == np.float64 and np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        pytest.skip("no wider type to compare with")
    low, high = range_of(dtype, of_two)
    generator = np.random.default_rng(0)
    everywhere = generator.uniform(low, high, 400_000)
    near_zero = generator.choice([-1, 1], 100_000) * 10.0 ** generator.uniform(-45, 0, 100_000)
    numbers = np.concatenate([everywhere, near_zero, [low, high, 0, 0.5, -0.5]]).astype(dtype)
    exact = (np.exp2 if of_two else np.exp)(
        numbers.astype(np.float64 if dtype == np.float32 else np.longdouble)
    )
    unit = np.spacing(exact.astype(dtype)).astype(exact.dtype)
    error = np.abs(exponential(numbers, of_two, vectors) - exact) / unit
    assert error.max() < (MOST_ULPS if dtype == np.float32 else 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("of_two", [True, False])
@pytest.mark.parametrize("vectors", [True, False])
def test_special_numbers(exponential, dtype, of_two, vectors):
    low, high = range_of(dtype, of_two)
    tiny = np.finfo(dtype).smallest_subnormal
    largest = np.finfo(dtype).max
    numbers = np.array([0, -0.0, tiny, -tiny, *[-np.inf, -largest, low * 1.01] * 20], dtype=dtype)
    assert exponential(numbers, of_two, vectors).tolist() == [1.0] * 4 + [0.0] * 60
    # Above the highest argument a power is that of the highest, not infinity: no sum meets inf - inf.
    above = np.array([high, high * 1.01, largest, np.inf] * 16, dtype=dtype)
    assert len(set(exponential(above, of_two, vectors).tolist())) == 1
    # Any NaN, not only the usual one.
    bits = {np.float32: np.uint32, np.float64: np.uint64}[dtype]
    usual = np.array([np.nan] * 64, dtype=dtype).view(bits)
    strange = (usual + np.arange(64, dtype=bits)).view(dtype)
    assert np.isnan(exponential(strange, of_two, vectors)).all()
    assert np.isnan(exponential(-strange, of_two, vectors)).all()
