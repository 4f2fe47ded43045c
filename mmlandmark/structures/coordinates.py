"""The one pixel convention of mmlandmark, in two and three dimensions.

A landmark is (x, y[, z]) in pixels; the centre of the first pixel is 0, so an image of width W covers
[-0.5, W - 0.5]. Arrays are indexed the other way round, (*S) = ([depth,] height, width). A resize by a
factor s maps x to ``(x + 0.5) * s - 0.5``, which is what image resampling does. Every geometric step is
a homogeneous (D+1, D+1) matrix that maps points of the frame before it to the frame after it; steps are
chained with ``after @ before``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Points = TypeVar("Points", np.ndarray, Tensor)


def _per_axis(value: float | Sequence[float] | np.ndarray, dims: int | None = None) -> np.ndarray:
    array = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if dims is not None and array.size == 1:
        array = np.repeat(array, dims)
    if array.ndim != 1 or array.size not in (2, 3) or (dims is not None and array.size != dims):
        raise ValueError(f"expected one value per axis (2 or 3), got {value!r}")
    return array


def _homogeneous(linear: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return (..., D+1, D+1) from a linear part (..., D, D) and an offset (..., D)."""
    matrix = np.zeros((*linear.shape[:-2], offset.shape[-1] + 1, offset.shape[-1] + 1))
    matrix[..., :-1, :-1] = linear
    matrix[..., :-1, -1] = offset
    matrix[..., -1, -1] = 1
    return matrix


def frame_center(size: Sequence[int]) -> np.ndarray:
    """Return the (D,) centre in pixels, (x, y[, z]), of a frame of ``size`` (*S).

    Example:
        >>> frame_center((4, 8)).tolist()
        [3.5, 1.5]
    """
    return (np.asarray(tuple(size), dtype=np.float64)[::-1] - 1) / 2


def translation_matrix(shift: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the (D+1, D+1) matrix that moves points by ``shift`` (D,), in pixels, (x, y[, z])."""
    shift = _per_axis(shift)
    return _homogeneous(np.eye(len(shift)), shift)


def crop_matrix(start: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the matrix of a crop that begins at pixel ``start`` (D,), (x, y[, z]); negative values pad.

    Example:
        >>> apply_matrix(crop_matrix((10, 20)), np.array([[12.5, 20.0]])).tolist()
        [[2.5, 0.0]]
    """
    return translation_matrix(-_per_axis(start))


def scale_matrix(factor: float | Sequence[float], center: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the matrix that scales by ``factor`` (scalar or (D,)) about the fixed point ``center`` (D,)."""
    center = _per_axis(center)
    linear = np.diag(_per_axis(factor, len(center)))
    return _homogeneous(linear, center - linear @ center)


def resize_matrix(size: Sequence[int], new_size: Sequence[int]) -> np.ndarray:
    """Return the matrix of a resize from ``size`` to ``new_size``, both (*S) in array order.

    Raises:
        ValueError: The sizes differ in length, or a side is not positive.

    Example:
        >>> apply_matrix(resize_matrix((1, 8), (1, 4)), np.array([[0.0, 0.0], [7.0, 0.0]])).tolist()
        [[-0.25, 0.0], [3.25, 0.0]]
    """
    old, new = _per_axis(size)[::-1], _per_axis(new_size)[::-1]
    if len(old) != len(new) or (old <= 0).any() or (new <= 0).any():
        raise ValueError(
            f"cannot resize from {tuple(size)} to {tuple(new_size)}: sides must be positive and match"
        )
    factor = new / old
    return _homogeneous(np.diag(factor), 0.5 * factor - 0.5)


def flip_matrix(size: Sequence[int], axis: int = 0) -> np.ndarray:
    """Return the matrix that mirrors a frame of ``size`` (*S) along coordinate ``axis`` (0 is x).

    Example:
        >>> apply_matrix(flip_matrix((4, 8)), np.array([[0.0, 3.0]])).tolist()
        [[7.0, 3.0]]
    """
    dims = len(size)
    linear, offset = np.eye(dims), np.zeros(dims)
    linear[axis, axis] = -1.0
    offset[axis] = size[dims - 1 - axis] - 1
    return _homogeneous(linear, offset)


def rotation_matrix(
    degrees: float | Sequence[float] | np.ndarray, center: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Return the (D+1, D+1) matrix of a rotation about ``center`` (D,), or (B, D+1, D+1) of several.

    Args:
        degrees: In 2D one angle, turning the x axis towards the y axis. In 3D three angles about the
            x, y and z axis, applied in that order. (B, 1) or (B, 3) for B rotations.
        center: (D,) fixed point in pixels.

    Example:
        >>> apply_matrix(rotation_matrix(90, (1, 1)), np.array([[2.0, 1.0]])).round(6).tolist()
        [[1.0, 2.0]]
    """
    center = _per_axis(center)
    angles = np.deg2rad(np.atleast_1d(np.asarray(degrees, dtype=np.float64)))
    linear = np.eye(len(center))
    planes = [(0, 1)] if len(center) == 2 else [(1, 2), (2, 0), (0, 1)]
    if angles.shape[-1] != len(planes):
        raise ValueError(f"{len(planes)} angle(s) are needed in {len(center)}D, got {degrees!r}")
    for plane, (a, b) in enumerate(planes):
        angle = angles[..., plane]
        turn = np.zeros((*angle.shape, len(center), len(center)))
        turn[...] = np.eye(len(center))
        turn[..., a, a] = turn[..., b, b] = np.cos(angle)
        turn[..., b, a], turn[..., a, b] = np.sin(angle), -np.sin(angle)
        linear = turn @ linear
    return _homogeneous(linear, center - linear @ center)


def invert_matrix(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a (D+1, D+1) matrix, or those of (B, D+1, D+1); ValueError if one is singular."""
    if (abs(np.linalg.det(matrix[..., :-1, :-1])) < 1e-12).any():
        raise ValueError(f"the matrix is singular and cannot be inverted:\n{matrix}")
    return np.linalg.inv(matrix)


def grid_unit(dims: int) -> str:
    """Return the unit of lengths on a grid, for tables: ``px``, or ``voxels`` of a volume.

    Example:
        >>> grid_unit(2), grid_unit(3)
        ('px', 'voxels')
    """
    return "px" if dims == 2 else "voxels"


def is_inside(points: Points, size: Sequence[int]) -> Points:
    """Return (...) bool: a point lies on a pixel of an array; NaN does not.

    Args:
        points: (..., D), (x, y[, z]).
        size: (*S) of the array.

    Example:
        >>> is_inside(np.array([[-0.5, 1.0], [3.5, 1.0], [np.nan, 1.0]]), (2, 4)).tolist()
        [True, False, False]
    """
    ends: Any = np.array(size[::-1]) - 0.5
    if isinstance(points, Tensor):
        ends = torch.as_tensor(ends, device=points.device)
    return ((points >= -0.5) & (points < ends)).all(-1)


def apply_matrix(matrix: np.ndarray | Tensor, points: Points) -> Points:
    """Map points by one matrix or by one matrix per batch item; NaN points stay NaN.

    Args:
        matrix: (D+1, D+1) or (B, D+1, D+1), numpy or torch like ``points``.
        points: (..., D) or (B, K, D) in pixels, (x, y[, z]).

    Returns:
        The mapped points, same shape, type and dtype as ``points``.

    Example:
        >>> crop_then_resize = resize_matrix((4, 4), (8, 8)) @ crop_matrix((2, 2))
        >>> points = torch.tensor([[2.0, 3.0], [float("nan"), float("nan")]])
        >>> apply_matrix(crop_then_resize, points)
        tensor([[0.5000, 2.5000],
                [   nan,    nan]])
    """
    if not isinstance(points, Tensor):
        points = np.asarray(points)
        moved = apply_matrix(matrix, torch.from_numpy(points.astype(np.float64, copy=False)))
        return moved.numpy().astype(points.dtype, copy=False)
    matrix = torch.as_tensor(matrix, dtype=torch.float64, device=points.device)
    linear, offset = matrix[..., :-1, :-1], matrix[..., :-1, -1]
    offset = offset if matrix.ndim == 2 else offset[:, None]
    return (points.double() @ linear.mT + offset).to(points.dtype)
