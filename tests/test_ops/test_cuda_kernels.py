"""The CUDA kernels, compiled for the CPU by a shim and compared with the operators there.

What this shows: their arithmetic, indexing, tiling and barriers. What it cannot: speed, and a GPU's memory.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from mmlandmark.ops.ewc_loss import ewc_loss_reference
from mmlandmark.ops.gaussian_heatmap import gaussian_heatmap_reference
from mmlandmark.ops.refined_peak import refined_peak_reference
from mmlandmark.ops.region_distance import region_distance_reference
from mmlandmark.ops.soft_argmax import spatial_expectation_reference
from part_of_cases import in_turn
from test_ops.op_testing import TOLERANCES, laid_out, maps_of, points_of, widths_of

SHIM = Path(__file__).parent / "cuda_shim"
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")

TYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
# Several tiles of rows and of columns, odd rows that start on no 16 bytes, volumes, one pixel.
SHAPES = [(1, 2, 3, 5), (2, 2, 40, 1050), (1, 1, 1, 1), (1, 2, 530, 7), (1, 2, 5, 40, 33)]


def compile_shim(target: Path, *options: str) -> None:
    """Compile the harness with the kernels in it."""
    command = [
        COMPILER, "-std=c++20", "-O1", "-fno-math-errno", "-Wall", "-Wno-unknown-pragmas", "-pthread",
        f'-DMMLANDMARK_CUDA_SHIM="{SHIM / "shim.h"}"', *options, str(SHIM / "harness.cpp"), "-o", str(target),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    path = tmp_path_factory.mktemp("shim") / "shim.so"
    compile_shim(path, "-shared", "-fPIC")
    return ctypes.CDLL(str(path))


def pointer(tensor):
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def call(function, *arguments) -> None:
    """Call a C function with tensors, ints, floats and bools."""
    kinds = {bool: ctypes.c_bool, int: ctypes.c_int64, float: ctypes.c_double}
    function(*(kinds[type(a)](a) if type(a) in kinds else a for a in arguments))


def layout_of(maps):
    """Return what the harness wants to know about maps."""
    size = (1, *maps.shape[2:])[-3:]
    strides = [maps.stride(0), maps.stride(1), maps.stride(2) if maps.ndim == 5 else 0, maps.stride(-2)]
    return (ctypes.c_int64 * 9)(maps.shape[0] * maps.shape[1], maps.shape[1], *size, *strides)


def work_type(dtype):
    return torch.promote_types(dtype, torch.float32)


def axes_of(sigma):
    """Return how many widths a landmark has."""
    return sigma.shape[2] if sigma.ndim == 3 else 1


LAYOUTS = [("contiguous", True), ("sliced", False)]


@pytest.mark.parametrize(("shape", "dtype", "how"), in_turn(SHAPES, TYPES, LAYOUTS))
def test_ewc_loss(shim, shape, dtype, how):
    layout, per_axis = how
    pred = laid_out(maps_of(shape, dtype), layout)
    work = work_type(dtype)
    points, sigma = points_of(shape, work), widths_of(shape, per_axis, work)
    factor = torch.full(shape[:2], 0.5, dtype=work)
    factor[0, -1] = 0
    exact = pred.double().requires_grad_()
    target = gaussian_heatmap_reference(
        points.double(), sigma.double(), torch.ones(shape[:2]).double(), shape[2:], "gaussian"
    )
    for given in (None, target.to(dtype)):
        truth = target if given is None else given.double()
        expected = ewc_loss_reference(exact, truth, factor.double(), 40.0)
        (gradient,) = torch.autograd.grad(expected.sum(), exact)
        losses, slopes = torch.full_like(factor, -1), torch.full(shape, -1, dtype=dtype)
        log_alpha = float(torch.tensor(40.0).double().log())
        if given is None:
            call(
                shim.shim_ewc_gaussian, TYPES[dtype], pointer(pred), layout_of(pred), pointer(points),
                pointer(sigma), pointer(factor), len(shape) - 2, axes_of(sigma), log_alpha, pointer(slopes),
                pointer(losses),
            )  # fmt: skip
        else:
            call(
                shim.shim_ewc_target, TYPES[dtype], pointer(pred), layout_of(pred), pointer(given),
                pointer(factor), log_alpha, pointer(slopes), pointer(losses),
            )  # fmt: skip
        torch.testing.assert_close(losses.double(), expected.detach(), **TOLERANCES[work])
        torch.testing.assert_close(slopes.double(), gradient, **TOLERANCES[dtype])


@pytest.mark.parametrize(
    ("shape", "dtype", "peak", "per_axis"), in_turn(SHAPES, TYPES, [0, 1, 2], [False, True])
)
def test_gaussian_heatmap(shim, shape, dtype, peak, per_axis):
    work = work_type(dtype)
    points, sigma = points_of(shape, work), widths_of(shape, per_axis, work)
    height = torch.full(shape[:2], 2.0, dtype=work)
    height[0, 0] = 0 if shape[1] > 1 else 2
    exact = [t.double().requires_grad_() for t in (points, sigma, height)]
    name = ("gaussian", "laplace", "disc")[peak]
    expected = gaussian_heatmap_reference(*exact, shape[2:], name)
    maps = torch.full(shape, -1, dtype=dtype)
    call(
        shim.shim_draw, TYPES[dtype], layout_of(maps), pointer(points), pointer(sigma), pointer(height),
        len(shape) - 2, axes_of(sigma), peak, pointer(maps),
    )  # fmt: skip
    torch.testing.assert_close(maps.double(), expected.detach(), rtol=1e-2, atol=TOLERANCES[dtype]["atol"])
    if name == "disc":
        return
    upstream = laid_out(maps_of(shape, dtype, seed=4), "sliced")
    gradients = torch.autograd.grad((expected * upstream.double()).sum(), exact)
    slopes = [torch.full_like(t, -1) for t in (points, sigma, height)]
    call(
        shim.shim_draw_backward, TYPES[dtype], pointer(upstream), layout_of(upstream), pointer(points),
        pointer(sigma), pointer(height), len(shape) - 2, axes_of(sigma), peak, *map(pointer, slopes),
    )  # fmt: skip
    drawn = (height != 0).double()
    for one, other in zip(slopes, gradients, strict=True):
        other = other * (drawn[..., None] if other.ndim == 3 else drawn)
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "dtype", "mode", "count"), in_turn(SHAPES, TYPES, ["softmax", "sigmoid"], [0, 3])
)
def test_expectation(shim, shape, dtype, mode, count):
    work = work_type(dtype)
    maps = laid_out(maps_of(shape, dtype), "sliced")
    features = maps_of((count, 1, *shape[2:]), work, seed=9)[:, 0].contiguous() if count else None
    exact = maps.double().requires_grad_()
    wide = None if features is None else features.double()
    expected = spatial_expectation_reference(exact, wide, 3.0, mode)
    result = torch.full(expected.shape, -1, dtype=work)
    state = torch.full((*shape[:2], 2), -1, dtype=work)
    what = (pointer(features), expected.shape[-1], 3.0, mode == "sigmoid")
    call(
        shim.shim_expectation,
        TYPES[dtype],
        pointer(maps),
        layout_of(maps),
        *what,
        pointer(result),
        pointer(state),
    )
    scale = 1 if count else max(shape[2:])
    torch.testing.assert_close(result.double(), expected.detach(), rtol=2e-5, atol=5e-6 * scale)
    upstream = torch.randn(expected.shape, dtype=work) / scale
    (gradient,) = torch.autograd.grad((expected * upstream.double()).sum(), exact)
    slopes = torch.full(shape, -1, dtype=dtype)
    call(
        shim.shim_expectation_backward, TYPES[dtype], pointer(maps), layout_of(maps), *what,
        pointer(upstream), pointer(result), pointer(state), pointer(slopes),
    )  # fmt: skip
    torch.testing.assert_close(slopes.double(), gradient, **TOLERANCES[dtype])


@pytest.mark.parametrize(("shape", "dtype"), in_turn(SHAPES, TYPES))
def test_region_distance(shim, shape, dtype):
    work = work_type(dtype)
    maps = laid_out(maps_of(shape, dtype).abs() + 0.1, "sliced")
    centers = points_of(shape, work) / 2
    spacing = [0.5, 2.0, 1.5]
    exact = [t.double().requires_grad_() for t in (maps, centers)]
    expected = region_distance_reference(*exact, spacing[: len(shape) - 2])
    result, mass = (torch.full(shape[:2], -1, dtype=work) for _ in range(2))
    what = (pointer(centers), (ctypes.c_double * 3)(*spacing), len(shape) - 2)
    call(
        shim.shim_distance,
        TYPES[dtype],
        pointer(maps),
        layout_of(maps),
        *what,
        pointer(result),
        pointer(mass),
    )
    torch.testing.assert_close(result.double(), expected.detach(), rtol=2e-5, atol=2e-5)
    upstream = torch.rand(shape[:2], dtype=work)
    gradients = torch.autograd.grad((expected * upstream.double()).sum(), exact)
    slopes, by_centers = torch.full(shape, -1, dtype=dtype), torch.full_like(centers, -1)
    call(
        shim.shim_distance_backward, TYPES[dtype], pointer(maps), layout_of(maps), *what, pointer(upstream),
        pointer(result), pointer(mass), pointer(slopes), pointer(by_centers),
    )  # fmt: skip
    torch.testing.assert_close(slopes.double(), gradients[0], **TOLERANCES[dtype])
    torch.testing.assert_close(by_centers.double(), gradients[1], rtol=1e-3, atol=1e-4)


METHODS = [("none", 0, 0.0), ("centroid", 3, 0.0), ("log_quadratic", 0, 1.3)]


@pytest.mark.parametrize(("shape", "dtype", "how"), in_turn(SHAPES, TYPES, METHODS))
def test_refined_peak(shim, shape, dtype, how):
    method, radius, smooth = how
    drawn = gaussian_heatmap_reference(
        points_of(shape), widths_of(shape, False), torch.ones(shape[:2]).double(), shape[2:], "gaussian"
    )
    maps = laid_out((drawn + maps_of(shape).abs() * 0.02).to(dtype), "sliced")
    if shape[-1] > 1000:
        maps[0, 0, 30, 1040] = maps[0, 0, 35, 3] = float("nan")
    expected = refined_peak_reference(maps.contiguous(), method, radius, smooth)
    work = work_type(dtype)
    points, values = torch.full(expected[0].shape, -1, dtype=work), torch.full(shape[:2], -1, dtype=work)
    pixels = torch.full(expected[1].shape, -1)
    number = ("none", "centroid", "quadratic", "log_quadratic").index(method)
    call(
        shim.shim_refined_peak, TYPES[dtype], pointer(maps), layout_of(maps), number, radius, smooth,
        pointer(points), ctypes.c_void_p(pixels.data_ptr()), pointer(values), len(shape) - 2,
    )  # fmt: skip
    assert torch.equal(pixels, expected[1])
    torch.testing.assert_close(values.to(dtype), expected[2], rtol=0, atol=0, equal_nan=True)
    bound = 1e-9 if dtype == torch.float64 else 2e-2
    torch.testing.assert_close(points, expected[0].to(work), rtol=0, atol=bound, equal_nan=True)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Return the program that ThreadSanitizer watches."""
    program = tmp_path_factory.mktemp("shim") / "shim"
    compile_shim(program, "-DSHIM_MAIN", "-fsanitize=thread", "-g")
    return program


@pytest.mark.slow
@pytest.mark.parametrize("barriers", [True, False])
def test_no_thread_reads_what_another_still_writes(watched, barriers):
    words = [watched, *([] if barriers else ["without-barriers"])]
    done = subprocess.run(words, capture_output=True, text=True)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("this kernel's address randomisation is too much for ThreadSanitizer")
    races = "WARNING: ThreadSanitizer: data race" in done.stderr
    assert races != barriers, done.stderr[:2000]
