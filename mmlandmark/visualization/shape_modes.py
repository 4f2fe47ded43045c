"""The figure of a mean shape and its modes of variation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.shape import PointDistributionModel
from mmlandmark.visualization import style

_LOW, _HIGH, _MEAN = style.hex_color(style.BLUE), style.hex_color(style.VERMILLION), "#555555"
_AXES = "xyz"


def plot_modes(
    model: PointDistributionModel,
    path: str | Path,
    *,
    links: Sequence[tuple[int, int]] = (),
    modes: int = 3,
    width: float = 3.0,
    unit: str = "mm",
) -> Path:
    """Draw the mean shape and what the largest modes do to it: a panel per mode and projection.

    Images have one projection, with y downwards; volumes three, with z upwards.

    Args:
        model: Mean and modes.
        path: PNG to write.
        links: Pairs of landmarks to join by a line.
        modes: Number of modes.
        width: Standard deviations to both sides of the mean.
        unit: Unit of the model.

    Raises:
        ValueError: The model has no modes.
    """
    count = min(modes, len(model.sigmas))
    if count < 1:
        raise ValueError(f"{path}: the shapes do not differ, so there is no mode to draw")
    dims = model.mean.shape[1]
    views = list(combinations(range(dims), 2))
    rows, columns = (1, count) if dims == 2 else (count, len(views))
    mean = model.shape(np.zeros(len(model.sigmas)))
    ends = [(model.shape(-width * b), model.shape(width * b)) for b in np.diag(model.sigmas)[:count]]
    everything = np.stack([mean, *(shape for pair in ends for shape in pair)]).reshape(-1, dims)
    low, high = everything.min(axis=0), everything.max(axis=0)
    margin = 0.06 * (high - low).max()
    with style.figure(rows, columns, size=_size(high - low, views, rows, columns), squeeze=False) as (
        canvas,
        axes,
    ):
        for row, mode in enumerate(range(count)):
            for column, view in enumerate(views):
                axis = axes[0, row] if dims == 2 else axes[row, column]
                _draw(axis, mean[:, view], [end[:, view] for end in ends[mode]], links)
                title = f"mode {mode + 1}, {100 * model.shares[mode]:.0f} % of the variance"
                axis.set_title(title if column == 0 else "")
                _frame(axis, view, low - margin, high + margin, unit)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        labels = [label.format(width=f"{width:g}") for label in labels]
        canvas.legend(handles, labels, loc="outside lower center", ncols=3)
        return style.save_figure(canvas, path)


def _size(
    extent: np.ndarray, views: Sequence[tuple[int, int]], rows: int, columns: int
) -> tuple[float, float]:
    """Return the size of a figure whose panels have the proportions of the shapes, in inches."""
    ratios = [extent[b] / max(extent[a], 1e-9) for a, b in views]
    width, labels = 2.7, 0.8  # of a panel, and the room for its labels
    height = width * float(np.clip(max(ratios), 0.3, 2.0))
    return (width + labels) * columns, (height + labels) * rows + 0.4


def _draw(axis: Any, mean: np.ndarray, ends: list[np.ndarray], links: Sequence[tuple[int, int]]) -> None:
    """Draw (K, 2) projections of the mean and of the two ends of a mode."""
    low, high = ends
    for a, b in zip(low, high, strict=True):
        axis.plot([a[0], b[0]], [a[1], b[1]], color="#bbbbbb", linewidth=1, zorder=1)
    shapes = ((low, _LOW, 4, "-{width} SD"), (mean, _MEAN, 3, "mean"), (high, _HIGH, 4, "+{width} SD"))
    for shape, color, size, label in shapes:
        for a, b in links:
            axis.plot(*shape[[a, b]].T, color=color, linewidth=0.9, alpha=0.55, zorder=2)
        axis.plot(*shape.T, "o", color=color, markersize=size, label=label, zorder=3)


def _frame(axis: Any, view: tuple[int, ...], low: np.ndarray, high: np.ndarray, unit: str) -> None:
    """Set limits and labels; y points downwards beside x, z upwards."""
    a, b = view
    axis.set_aspect("equal")
    axis.set(xlim=(low[a], high[a]), ylim=(high[b], low[b]) if b == 1 else (low[b], high[b]))
    axis.set(xlabel=f"{_AXES[a]} ({unit})", ylabel=f"{_AXES[b]} ({unit})")
