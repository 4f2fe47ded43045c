"""Volumes as pictures: projections and slices along every axis, with their landmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmlandmark.structures.coordinates import apply_matrix, resize_matrix
from mmlandmark.visualization import style
from mmlandmark.visualization.overlay import draw_landmarks

_AXES = "xyz"


def flatten(array: np.ndarray, axis: int = 2, at: float | None = None) -> np.ndarray:
    """Return a projection or slice of a volume along a coordinate axis; an image is returned unchanged.

    Args:
        array: (*S) image or volume.
        axis: Coordinate to look along: 0 is x, 1 is y, 2 is z.
        at: Voxel coordinate of the slice; the default is the maximum projection.

    Returns:
        (H, W), with the remaining coordinates as x and y, in their order.

    Raises:
        ValueError: The array is neither an image nor a volume, or the axis does not exist.
    """
    array = np.asarray(array)
    if array.ndim == 2:
        return array
    if array.ndim != 3 or axis not in (0, 1, 2):
        raise ValueError(f"expected (H, W) or (depth, H, W) and an axis 0, 1 or 2, got {array.shape}, {axis}")
    along = 2 - axis  # arrays are indexed (z, y, x)
    if at is None:
        return array.max(axis=along)
    return array.take(int(np.clip(round(at), 0, array.shape[along] - 1)), axis=along)


def draw_views(
    volume: np.ndarray,
    gt: np.ndarray | None = None,
    pred: np.ndarray | None = None,
    *,
    spacing: Sequence[float] | None = None,
    errors: np.ndarray | None = None,
    at: Sequence[float] | None = None,
    thickness: float = 5.0,
    long_side: int = 600,
    caption: str | None = None,
    regions: np.ndarray | None = None,
    **options,
) -> np.ndarray:
    """Draw a volume along z, y and x side by side, with landmarks as in :func:`draw_landmarks`.

    Args:
        volume: (depth, H, W) in any real dtype.
        gt: (K, 3) voxels, (x, y, z), NaN where nothing is annotated.
        pred: (K, 3) voxels.
        spacing: (3,) mm per voxel, (x, y, z): views get square pixels, and errors are written in mm.
        errors: (K,) errors to write, instead of the distances in three dimensions from ``spacing``.
        at: (3,) voxel to cut through; the default shows maximum projections.
        thickness: With ``at``, draw points up to this many voxels from the slice.
        long_side: Longest side of a view in pixels.
        caption: Text for the band below the first view.
        regions: (K, 3, 3) matrices in voxels^2, drawn as their shadows in every view, see
            :func:`draw_landmarks`.
        options: Passed to :func:`draw_landmarks`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: Shapes disagree.
    """
    volume = np.asarray(volume)
    if volume.ndim != 3:
        raise ValueError(f"expected a volume (depth, H, W), got {volume.shape}")
    gt, pred = (None if points is None else _points(points) for points in (gt, pred))
    scale = np.ones(3) if spacing is None else np.asarray(spacing, dtype=np.float64)
    if errors is None and spacing is not None and gt is not None and pred is not None:
        errors = np.linalg.norm((pred - gt) * scale, axis=1)
    extent = (np.array(volume.shape[::-1]) * scale).max()
    views = []
    for axis in (2, 1, 0):
        cut = None if at is None else float(at[axis])
        plane = style.to_rgb(flatten(volume, axis, cut))
        plane, matrix = _square(plane, np.delete(scale, axis) * long_side / extent)
        flat = [_flat(points, axis, cut, thickness, matrix) for points in (gt, pred)]
        across, down = (_AXES[i] for i in range(3) if i != axis)
        title = f"along {_AXES[axis]} ({across} right, {down} down)" + (
            "" if cut is None else f" at {cut:.1f}"
        )
        shadows = None if regions is None else _shadows(regions, axis, matrix)
        words = title if caption is None or axis != 2 else f"{title}. {caption}"
        views.append(draw_landmarks(plane, *flat, errors=errors, caption=words, regions=shadows, **options))
    height = max(view.shape[0] for view in views)
    return np.concatenate([_padded(view, height, gap=4 * (i > 0)) for i, view in enumerate(views)], axis=1)


def _points(points: np.ndarray) -> np.ndarray:
    array = np.array(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"landmarks of a volume must be (K, 3), got {array.shape}")
    return array


def _square(plane: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resize an RGB plane by ``factor`` (x, y) and return it with the matrix that takes points along."""
    import cv2

    size = plane.shape[:2]
    height, width = (max(round(side * scale), 1) for side, scale in zip(size, factor[::-1], strict=True))
    how = cv2.INTER_AREA if factor.max() < 1 else cv2.INTER_LINEAR
    return cv2.resize(plane, (width, height), interpolation=how), resize_matrix(size, (height, width))


def _flat(
    points: np.ndarray | None, axis: int, cut: float | None, thickness: float, matrix: np.ndarray
) -> np.ndarray | None:
    if points is None:
        return None
    flat = np.delete(points, axis, axis=1)
    if cut is not None:
        flat[np.abs(points[:, axis] - cut) > thickness] = np.nan
    return apply_matrix(matrix, flat)


def _shadows(regions: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    """Return the (K, 2, 2) projections of ellipsoids along an axis, on the canvas of a view."""
    kept, linear = [i for i in range(3) if i != axis], matrix[:2, :2]
    return linear @ np.asarray(regions, dtype=np.float64)[:, kept][:, :, kept] @ linear.T


def _padded(view: np.ndarray, height: int, gap: int) -> np.ndarray:
    canvas = np.full((height, view.shape[1] + gap, 3), style.PAPER, np.uint8)
    canvas[: view.shape[0], gap:] = view
    return canvas
