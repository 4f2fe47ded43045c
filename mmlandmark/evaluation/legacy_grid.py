"""Errors on a coarse grid with a truncated annotation, as some published numbers were measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def on_legacy_grid(
    pred: np.ndarray, gt: np.ndarray, shapes: Sequence[Sequence[int]], grid: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and annotation as the published code of CC2D compares them.

    It resizes images to a grid (Yao et al. 2021, *One-Shot Medical Landmark Detection*), where a prediction
    is a cell. The annotation is cut to whole pixels of the image, multiplied by the ratio of the sizes, and
    cut again. So an error is a difference of cells, and one below a cell vanishes: only numbers that were
    measured like this may be compared with them.

    Args:
        pred: (N, K, D) original pixels, (x, y[, z]), NaN where nothing is predicted.
        gt: (N, K, D) original pixels, NaN where nothing is annotated.
        shapes: N times (*S), sizes of the original images.
        grid: (*S) of the grid.

    Returns:
        Both in original pixels again: first pixels of cells, where a cell need not be as long as it is high.

    Raises:
        ValueError: The grid has another number of sides than the landmarks have coordinates.

    Example:
        >>> pred, gt = np.array([[[10.0, 31.9]]]), np.array([[[4.9, 30.0]]])
        >>> [points.tolist() for points in on_legacy_grid(pred, gt, [(64, 50)], (16, 10))]
        [[[[10.0, 32.0]]], [[[0.0, 28.0]]]]
    """
    if len(grid) != gt.shape[2]:
        raise ValueError(
            f"legacy_grid {tuple(grid)} needs {gt.shape[2]} sides, in the order of the array (height, width)"
        )
    size = np.array(shapes, dtype=np.float64)[:, None, ::-1]
    cells = np.asarray(grid, dtype=np.float64)[::-1]
    # A cell that was predicted lies at its centre; by the pixel convention pixel x begins at x - 1/2. The
    # order of operations is that of the publication: a ratio of its own would round 645 * 384 / 1935 down.
    found, true = np.floor((pred + 0.5) * cells / size), np.floor(np.floor(gt) * cells / size)
    return found * size / cells, true * size / cells
