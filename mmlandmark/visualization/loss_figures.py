"""Figures of losses: the weight of an error, and how positions of landmarks correlate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.visualization import style

Curve = tuple[np.ndarray, np.ndarray]


def plot_loss_weights(
    by_height: Mapping[str, Curve], by_distance: Mapping[str, Curve], path: str | Path
) -> Path:
    """Draw the weight that losses give to an error, relative to a squared error, as PNG.

    Args:
        by_height: Name of a loss -> heights of the target, and the weight there.
        by_distance: Name of a loss -> distances from the landmark in pixels, and the weight there.
        path: PNG to write.

    Raises:
        ValueError: There is no loss.
    """
    if not by_height:
        raise ValueError("there is nothing to draw: no loss")
    with style.figure(1, 2, size=(8.4, 3.2), sharey=True) as (canvas, axes):
        for axis, curves in zip(axes, (by_height, by_distance), strict=True):
            for name, (places, weights) in curves.items():
                axis.plot(places, weights, label=name)
            axis.set_ylim(bottom=0)
            axis.margins(x=0.02)
        axes[0].set(xlabel="height of the target", ylabel="weight of an error")
        axes[0].set_title("by height of the target")
        axes[1].set(xlabel="distance from the landmark (px)")
        axes[1].set_title("by distance from the landmark")
        axes[1].legend()
        return style.save_figure(canvas, path)


def plot_configuration(
    features: np.ndarray,
    names: Sequence[str],
    rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    path: str | Path,
) -> Path:
    """Draw maps of position, and the correlations of landmarks embedded by them, as PNG.

    The first row shows the maps. Each further row shows heatmaps, their embeddings, the correlations of all
    pairs and, from the second of these rows on, the difference to the correlations of the first.

    Args:
        features: (d, *S) maps of position; of volumes the middle slice is shown.
        names: d names.
        rows: Name, such as that of a checkpoint -> picture of its heatmaps (H, W, 3), embeddings (n, d) and
            correlations (n, n).
        path: PNG to write.

    Raises:
        ValueError: Maps and names differ in number.
    """
    if len(features) != len(names):
        raise ValueError(f"{len(names)} names for {len(features)} maps of position")
    planes = [values if values.ndim == 2 else values[len(values) // 2] for values in features]
    columns, shape = max(len(planes), 4), planes[0].shape
    tall = float(np.clip(shape[0] / shape[1], 0.5, 2.0))
    size = (2.6 * columns, 2.3 * tall * (1 + len(rows)) + 0.4)
    with style.figure(1 + len(rows), columns, size=size, squeeze=False) as (canvas, axes):
        limits = [max(float(np.abs(row[i]).max()) for row in rows.values()) for i in (1, 2)] if rows else []
        for axis, name, plane in zip(axes[0], names, planes, strict=False):
            _signed(axis, plane, float(np.abs(features).max()), name)
        first = next(iter(rows), "")
        widest = max((float(np.abs(row[2] - rows[first][2]).max()) for row in rows.values()), default=0.0)
        for line, (name, (picture, embedding, correlations)) in zip(axes[1:], rows.items(), strict=True):
            line[0].imshow(picture)
            line[0].set_title(name)
            _signed(line[1], embedding, limits[0], "embeddings", stretch=True)
            line[1].set_xticks(range(len(names)), names, rotation=0 if len(names) <= 4 else 90, fontsize=8)
            line[1].set_yticks([0, len(embedding) - 1])
            _signed(line[2], correlations, limits[1], "correlations")
            if name != first:
                _signed(line[3], correlations - rows[first][2], widest, f"minus {first}")
        for axis in axes.flat:
            axis.grid(visible=False)
            if not axis.images:
                axis.remove()
        for axis in [*axes[0, : len(planes)], *axes[1:, 0]]:
            axis.axis("off")
        return style.save_figure(canvas, path)


def _signed(axis: Any, values: np.ndarray, limit: float, title: str, stretch: bool = False) -> None:
    """Show values from -limit (blue) over 0 (white) to limit (red), with their scale."""
    limit = limit or 1.0
    shown = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto" if stretch else "equal")
    axis.figure.colorbar(shown, ax=axis, fraction=0.046, pad=0.03)
    axis.set_title(title)
