"""Shared by all transforms: the current frame of a pipeline, and checks of arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlandmark.structures import apply_matrix, invert_matrix, mm_steps


def move_frame(results: dict[str, Any], matrix: np.ndarray, size: Sequence[int] | None = None) -> dict:
    """Multiply the matrix of a sample by one geometric step; the pixels follow in ``Resample``.

    Args:
        results: Results of a pipeline after ``LoadImage``.
        matrix: (D+1, D+1), from the current frame to the new one.
        size: (*S) of the new frame; None keeps it.

    Returns:
        ``results``.
    """
    results["input_from_original"] = matrix @ results["input_from_original"]
    if size is not None:
        results["input_shape"] = tuple(int(s) for s in size)
    return results


def frame_size(results: dict[str, Any], transform: object) -> tuple[int, ...]:
    """Return the size (*S) of the current frame; raise KeyError if no image has been loaded."""
    if "input_shape" not in results:
        raise KeyError(f"{type(transform).__name__} needs a frame: put LoadImage before it in the pipeline")
    return results["input_shape"]


def value_range(results: dict[str, Any]) -> tuple[float, float] | None:
    """Return (black, white) in values of ``results["img"]``, or None where unknown.

    If an image was loaded as integers and is now floating point, some step has scaled it to unit pixels.
    """
    dtype = results["img"].dtype
    if dtype.kind == "f" and results.get("loaded_dtype", dtype).kind != "f":
        return 0.0, 1.0
    return results.get("value_range")


def landmarks_in_frame(results: dict[str, Any]) -> np.ndarray:
    """Return the (K, D) landmarks in pixels of the current frame."""
    return apply_matrix(results["input_from_original"], np.asarray(results["landmarks"], dtype=np.float64))


def mm_from_pixels(results: dict[str, Any]) -> np.ndarray | None:
    """Return the (D, D) matrix from steps in pixels of the current frame to steps in mm; None if unknown.

    See :func:`~mmlandmark.structures.mm_steps` for its axes and lengths.
    """
    matrix = results["input_from_original"]
    dims = len(matrix) - 1
    steps = mm_steps(results.get("world_from_original"), results.get("spacing"), dims)
    return None if steps is None else steps @ invert_matrix(matrix)[:dims, :dims]


def frame_spacing(results: dict[str, Any]) -> np.ndarray:
    """Return (D,) the length of one pixel of the current frame along each of its axes, (x, y[, z]).

    In mm for a volume whose spacing is known. All ones for other frames: random geometry of images is in
    pixels, whatever their spacing.
    """
    dims = len(results["input_from_original"]) - 1
    steps = mm_from_pixels(results) if dims == 3 else None
    return np.ones(dims) if steps is None else np.linalg.norm(steps, axis=0)


def happens(results: dict[str, Any], prob: float) -> bool:
    """Draw whether a random transform is applied to this sample."""
    return bool(results["rng"].random() < prob)


def checked_prob(prob: float) -> float:
    """Return a probability; raise ValueError if it is not in [0, 1]."""
    if not 0 <= prob <= 1:
        raise ValueError(f"prob must lie in [0, 1], got {prob!r}")
    return float(prob)


def checked_size(size: Sequence[int], name: str = "size") -> tuple[int, ...]:
    """Return a size (*S) of two or three positive integers; raise ValueError for anything else."""
    if (
        not isinstance(size, Sequence)
        or len(size) not in (2, 3)
        or not all(s == int(s) and s > 0 for s in size)
    ):
        raise ValueError(f"{name} must be (height, width) or (depth, height, width) in pixels, got {size!r}")
    return tuple(int(s) for s in size)


def checked_range(value: float | Sequence[float], name: str, low: float = 0.0) -> tuple[float, float]:
    """Return (smallest, largest) with ``low`` <= smallest <= largest; one number v means (v, v)."""
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or not low <= pair[0] <= pair[1]:
        raise ValueError(f"{name} must be a number or (smallest, largest), at least {low}, got {value!r}")
    return float(pair[0]), float(pair[1])


def check_fraction(value: float | Sequence[float], name: str) -> None:
    """Check one or several lengths given as fractions of the shorter side of the frame.

    Raises:
        ValueError: One is not in [0, 1), as where pixels were given.
    """
    if not all(0 <= fraction < 1 for fraction in np.atleast_1d(value)):
        raise ValueError(
            f"{name} must be a fraction of the shorter side of the frame, in [0, 1), got {value!r}; "
            "for 20 pixels of a frame of (320, 256) give 20 / 256"
        )


def checked_dims(values: Sequence, size: Sequence[int], transform: object) -> None:
    """Raise ValueError unless ``values`` has one entry per axis of a frame of ``size`` (*S)."""
    if len(values) != len(size):
        raise ValueError(
            f"{type(transform).__name__}: {len(values)} values {tuple(values)} do not fit an image of "
            f"{len(size)} dimensions, {tuple(size)}"
        )


def to_pixels(fraction: float | np.ndarray, results: dict[str, Any]) -> np.ndarray:
    """Return (D,) lengths in pixels of the current frame, (x, y[, z]), from fractions of its shorter side.

    The shorter side, and the length, are measured by :func:`frame_spacing`: in a volume with anisotropic
    voxels, the same fraction is the same number of mm along all axes.
    """
    spacing = frame_spacing(results)
    side = (np.asarray(results["input_shape"])[::-1] * spacing).min()
    return fraction * side / spacing


def per_axis(value: float | Sequence[float], dims: int, name: str) -> np.ndarray:
    """Return (D,) floats from one number or D numbers; raise ValueError for any other count."""
    values = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if values.ndim != 1 or len(values) not in (1, dims):
        raise ValueError(f"{name} must be one number or {dims}, got {value!r}")
    return np.broadcast_to(values, (dims,))
