"""Shared by the tests of all operators: sizes, layouts, tolerances, random maps and points."""

from __future__ import annotations

import contextlib
import os

import pytest
import torch
from torch import Tensor

from mmlandmark.ops import backend

needs_native = pytest.mark.skipif(backend().name != "native", reason=str(backend()))
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])

# One pixel, odd sides, a side above 2^16, one landmark and hundreds, flat and thick volumes.
SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 7, 33),
    (1, 2, 1, 70001),
    (1, 2, 70001, 3),
    (2, 37, 16, 16),
    (1, 300, 5, 9),
    (2, 3, 4, 9, 21),
    (1, 1, 65, 1, 1),
]
LAYOUTS = ["contiguous", "channels_last", "transposed", "sliced", "expanded"]
TOLERANCES = {
    torch.float64: dict(rtol=1e-10, atol=1e-12),
    torch.float32: dict(rtol=2e-5, atol=2e-6),
    torch.bfloat16: dict(rtol=2e-2, atol=2e-2),
    torch.float16: dict(rtol=4e-3, atol=4e-3),
}
SUM_TOLERANCE = dict(rtol=2e-5, atol=2e-5)  # of float32 sums


def maps_of(shape: tuple[int, ...], dtype=torch.float64, device="cpu", seed: int = 0) -> Tensor:
    """Return normally distributed maps."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)


def points_of(shape: tuple[int, ...], dtype=torch.float64, device="cpu", seed: int = 1) -> Tensor:
    """Return (B, K, D) points inside maps of (B, K, *S), and a little around them."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor(shape[:1:-1], dtype=torch.float64)
    points = torch.rand((*shape[:2], len(size)), generator=generator, dtype=torch.float64)
    return (points * (size + 4) - 2).to(device, dtype)


def features_of(shape, count, dtype=torch.float64, device="cpu"):
    """Return maps of features (d, *S)."""
    return maps_of((count, 1, *shape[2:]), dtype, device, seed=9)[:, 0]


def widths_of(shape: tuple[int, ...], per_axis: bool, dtype=torch.float64, device="cpu") -> Tensor:
    """Return widths between 1 and 3 pixels for maps of (B, K, *S): (B, K), or (B, K, D) per axis."""
    generator = torch.Generator().manual_seed(2)
    wanted = (*shape[:2], len(shape) - 2) if per_axis else shape[:2]
    return (torch.rand(wanted, generator=generator, dtype=torch.float64) * 2 + 1).to(device, dtype)


def laid_out(maps: Tensor, layout: str) -> Tensor:
    """Return equal maps with another layout in memory."""
    if layout == "channels_last":
        kind = torch.channels_last if maps.ndim == 4 else torch.channels_last_3d
        return maps.contiguous(memory_format=kind)
    if layout == "transposed":
        return maps.transpose(0, 1).contiguous().transpose(0, 1)
    if layout == "sliced":
        wide = maps.new_full([side + 3 for side in maps.shape], float("nan"))
        part = tuple(slice(1, 1 + side) for side in maps.shape)
        wide[part] = maps
        return wide[part]
    if layout == "expanded":
        return maps[:1].expand(maps.shape)
    return maps.contiguous()


@contextlib.contextmanager
def threads(count: int):
    """Compute with this number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def free_gigabytes() -> float:
    """Return the available memory."""
    with open("/proc/meminfo") as lines:
        (line,) = (line for line in lines if line.startswith("MemAvailable"))
    return int(line.split()[1]) / 2**20


def opcheck(operator, *arguments) -> None:
    """Check registration, fake kernel, autograd and tracing of a native operator."""
    torch.library.opcheck(operator, arguments)


linux_only = pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="reads /proc/meminfo")
