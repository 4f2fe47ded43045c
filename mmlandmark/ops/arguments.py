"""Argument checks that the operators share, and the types of their results."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sum_type(dtype: torch.dtype) -> torch.dtype:
    """Return the type that sums over maps of ``dtype`` are made in: float64 for float64, else float32."""
    return torch.promote_types(dtype, torch.float32)


def result_like(maps: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """Return an uninitialised result of an operator on ``maps``, by default of the type of its sums."""
    return maps.new_empty(shape, dtype=dtype or sum_type(maps.dtype))


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
    """Return widths of ``dtype``, (B, K) from a scalar, (K,) or (B, K), and (B, K, D) as they are.

    Args:
        sigma: Scalar, (K,), (B, K), or per axis (B, K, D), (x, y[, z]).
        landmarks: (B, K, D), for the shape and the device.
        dtype: Of the result.

    Raises:
        ValueError: The shape does not fit, or a width is not positive. On a GPU and inside ``torch.compile``
            the values are checked on the device, which waits for nothing: a width that is not positive fails
            there, later.
    """
    batch, count, dims = landmarks.shape
    if not isinstance(sigma, Tensor):
        if not (torch.tensor(sigma) > 0).all():
            raise ValueError(f"sigma must be positive, got {sigma}")
        sigma = torch.as_tensor(sigma, dtype=dtype, device=landmarks.device)
    elif torch.compiler.is_compiling() or sigma.device.type != "cpu":
        torch._assert_async((sigma > 0).all(), "sigma must be positive")
    elif not bool((sigma > 0).all()):
        raise ValueError(f"sigma must be positive, got {sigma}")
    width = sigma.to(dtype=dtype, device=landmarks.device)
    if width.shape not in ((), (count,), (batch, count), (batch, count, dims)):
        raise ValueError(
            f"sigma must be a scalar, ({count},), ({batch}, {count}) or per axis ({batch}, {count}, {dims}), "
            f"got {tuple(width.shape)}"
        )
    return width if width.ndim == 3 else width.expand(batch, count)


def width_along(sigma: Tensor, axis: int) -> Tensor:
    """Return the widths along one axis, (B, K), of (B, K) or of (B, K, D); axis 0 is x."""
    return sigma[..., axis] if sigma.ndim == 3 else sigma
