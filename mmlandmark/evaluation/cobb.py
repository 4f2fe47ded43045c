"""Cobb angles of a spine from the corners of its vertebrae, as AASCE 2019 computes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class CobbAngles(NamedTuple):
    """Cobb angles of N spines, in degrees; NaN where a corner is missing or a vertebra has no width.

    Attributes:
        columns: (N, 3) in the order of ``angles.csv``: the largest, and two more of the curves beside it.
        by_place: (N, 3) the same angles from the top: PT, MT, TL/L.
        curves: (N, 3, 2) end vertebrae (upper, lower) of ``columns``, counted from 0 at the top.
    """

    columns: np.ndarray
    by_place: np.ndarray
    curves: np.ndarray


def cobb_angles(corners: np.ndarray, heights: np.ndarray) -> CobbAngles:
    """Return the Cobb angles of AASCE 2019 (SpineWeb dataset 16).

    The tilt of a vertebra is the line from the middle of its left side to the middle of its right side. The
    largest angle between two tilts is the first. If the midpoints of all end plates lie on one side of the
    line from the first to the last, the others lie between these two vertebrae and the ends of the spine. If
    not, and the end vertebrae of the first curve lie in the upper half of the image on average, the others
    are the largest angles above and below it; in the lower half, the largest above it and the largest above
    that one. This agrees with the published script (Wu et al. 2017, BoostNet, and the challenge).

    Args:
        corners: (N, V, 4, 2) V >= 3 vertebrae from the top; top left, top right, bottom left, bottom right.
        heights: (N,) height of the image in the unit of ``corners``.

    Raises:
        ValueError: A shape is wrong.
    """
    corners, heights = np.asarray(corners, dtype=np.float64), np.asarray(heights, dtype=np.float64)
    if corners.ndim != 4 or corners.shape[2:] != (4, 2) or corners.shape[1] < 3:
        raise ValueError(f"corners must be (N, V >= 3, 4, 2), got {corners.shape}")
    if heights.shape != corners.shape[:1]:
        raise ValueError(f"heights must be ({len(corners)},), got {heights.shape}")
    angles = _tilt_angles(corners)
    whole = np.isfinite(angles).all(axis=(1, 2))
    found = np.where(whole[:, None, None], angles, 0.0)
    rows, count = np.arange(len(corners)), corners.shape[1]
    upper, lower = np.divmod(np.triu(found).reshape(len(corners), -1).argmax(axis=1), count)
    s_shaped, low_curve = _is_s_shaped(corners), _is_low(corners, upper, lower, heights)
    above = found[rows, upper].copy()
    above[np.arange(count)[None] > upper[:, None]] = -1
    top = np.where(s_shaped, above.argmax(axis=1), 0)
    below = found[rows, lower].copy()
    below[np.arange(count)[None] < lower[:, None]] = -1
    end = np.where(s_shaped, below.argmax(axis=1), count - 1)
    higher = found[rows, top].copy()
    higher[np.arange(count)[None] > top[:, None]] = -1
    low_curve &= s_shaped
    third = np.where(low_curve[:, None], np.stack([higher.argmax(axis=1), top], 1), np.stack([lower, end], 1))
    curves = np.stack([np.stack([upper, lower], 1), np.stack([top, upper], 1), third], axis=1)
    columns = np.take_along_axis(found.reshape(len(corners), -1), curves[..., 0] * count + curves[..., 1], 1)
    columns[~whole] = np.nan
    order = np.where(low_curve[:, None], [2, 1, 0], [1, 0, 2])
    return CobbAngles(columns, np.take_along_axis(columns, order, axis=1), curves)


def _tilt_angles(corners: np.ndarray) -> np.ndarray:
    """Return (N, V, V) degrees between the tilts of all vertebrae."""
    tilt = corners[:, :, 1::2].mean(axis=2) - corners[:, :, 0::2].mean(axis=2)
    length = np.linalg.norm(tilt, axis=-1, keepdims=True)
    unit = tilt / np.where(length > 0, length, np.nan)
    apart = np.linalg.norm(unit[:, :, None] - unit[:, None], axis=-1)
    together = np.linalg.norm(unit[:, :, None] + unit[:, None], axis=-1)
    return np.degrees(2 * np.arctan2(apart, together))


def _is_s_shaped(corners: np.ndarray) -> np.ndarray:
    """Return (N,) whether midpoints of end plates lie on both sides of the line between the outer two."""
    middles = corners.reshape(len(corners), -1, 2, 2).mean(axis=2)
    away, line = middles[:, :-2] - middles[:, -1:], middles[:, :1] - middles[:, -1:]
    side = away[..., 1] * line[..., 0] - away[..., 0] * line[..., 1]
    return (side > 0).any(axis=1) & (side < 0).any(axis=1)


def _is_low(corners: np.ndarray, upper: np.ndarray, lower: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Return (N,) whether the bottoms of two vertebrae lie in the lower half of the image on average."""
    bottom, rows = corners[:, :, 2:, 1].mean(axis=2), np.arange(len(corners))
    return bottom[rows, upper] + bottom[rows, lower] >= heights
