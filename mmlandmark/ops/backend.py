"""Whether the native operators are there, and the twins in plain PyTorch where they are not."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Backend(NamedTuple):
    """What computes the operators, and why.

    Attributes:
        name: ``native`` or ``reference``.
        reason: In words.
        build: What :mod:`mmlandmark._C` says of its build; empty for ``reference``.
    """

    name: str
    reason: str
    build: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def _load() -> Backend:
    if os.environ.get("MMLANDMARK_DISABLE_EXT", "0") not in ("", "0"):
        return Backend("reference", "MMLANDMARK_DISABLE_EXT is set", {})
    try:
        native = importlib.import_module("mmlandmark._C")
    except ImportError as error:
        how = "build it with a C++ compiler: pip install --no-build-isolation -e ."
        return Backend("reference", f"mmlandmark._C cannot be imported ({error}); {how}", {})
    build = native.build_info()
    devices = "CPU and CUDA" if build["cuda"] else "CPU"
    return Backend("native", f"mmlandmark._C for {devices}, {build['cpu_level']} instructions", build)


_BACKEND = _load()


def backend() -> Backend:
    """Return which implementation of the operators is active, and why.

    ``MMLANDMARK_DISABLE_EXT=1`` in the environment chooses the twins in plain PyTorch.

    Example:
        >>> backend().name in ("native", "reference")
        True
    """
    return _BACKEND


@contextmanager
def using_reference() -> Iterator[None]:
    """Use the twins in plain PyTorch for a while, in all threads: to compare, or to look for a fault.

    Example:
        >>> with using_reference():
        ...     backend().name
        'reference'
    """
    global _BACKEND
    before, _BACKEND = _BACKEND, Backend("reference", "using_reference()", {})
    try:
        yield
    finally:
        _BACKEND = before


def is_native(tensor: Tensor) -> bool:
    """Return whether the native operators work on a tensor: its device and type of number."""
    if _BACKEND.name != "native" or not tensor.is_floating_point():
        return False
    return tensor.device.type == "cpu" or (tensor.device.type == "cuda" and bool(_BACKEND.build["cuda"]))


def sum_type(dtype: torch.dtype) -> torch.dtype:
    """Return the type that sums over maps of ``dtype`` are made in: float64 for float64, else float32."""
    return torch.promote_types(dtype, torch.float32)


def check_maps(maps: Tensor, name: str) -> None:
    """Raise ValueError unless ``maps`` is (B, K, *S) with two or three spatial dimensions."""
    if maps.ndim not in (4, 5) or not maps.is_floating_point():
        raise ValueError(
            f"{name} must be a floating point (B, K, *S) tensor with 2 or 3 spatial dimensions, got "
            f"{tuple(maps.shape)} {maps.dtype}"
        )


def checked_mask(mask: Tensor | None, landmarks: Tensor) -> Tensor:
    """Return (B, K) bool: finite landmarks that ``mask``, if any, does not leave out."""
    present = torch.isfinite(landmarks).all(-1)
    if mask is None:
        return present
    if mask.shape != present.shape:
        raise ValueError(f"mask must be {tuple(present.shape)}, got {tuple(mask.shape)}")
    return present & mask.bool()


def checked_sigma(sigma: float | Tensor, landmarks: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (B, K) widths of ``dtype`` from a scalar, (K,) or (B, K).

    Raises:
        ValueError: The shape does not fit, or a width is not positive. On a GPU and inside ``torch.compile``
            that is not waited for: there a width that is not positive fails on the device.
    """
    batch, count = landmarks.shape[:2]
    if not isinstance(sigma, Tensor):
        if not (torch.tensor(sigma) > 0).all():
            raise ValueError(f"sigma must be positive, got {sigma}")
        sigma = torch.as_tensor(sigma, dtype=dtype, device=landmarks.device)
    elif torch.compiler.is_compiling() or sigma.device.type != "cpu":
        torch._assert_async((sigma > 0).all(), "sigma must be positive")
    elif not bool((sigma > 0).all()):
        raise ValueError(f"sigma must be positive, got {sigma}")
    width = sigma.to(dtype=dtype, device=landmarks.device)
    fits = width.ndim == 0 or (width.ndim == 1 and len(width) == count) or width.shape == (batch, count)
    if not fits:
        raise ValueError(
            f"sigma must be a scalar, ({count},) or ({batch}, {count}), got {tuple(width.shape)}"
        )
    return width.expand(batch, count)
