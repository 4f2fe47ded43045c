"""What further annotated images are worth to several methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmlandmark.evaluation import metric_title
from mmlandmark.visualization import style


def plot_annotation_curve(
    methods: Mapping[str, Mapping[int, Mapping[str, float]]], path: str | Path, metrics: tuple[str, ...]
) -> Path:
    """Draw metrics against the number of annotated images: a panel per metric, a curve per method.

    Args:
        methods: Name -> number of annotated images -> metrics, such as those of a record.
        path: PNG to write.
        metrics: Keys of those that are drawn.

    Raises:
        ValueError: There is nothing to draw.
    """
    counts = sorted({count for curve in methods.values() for count in curve})
    if not counts or not metrics:
        raise ValueError(f"{path}: there is no method, number of images or metric to draw")
    with style.figure(1, len(metrics), size=(4.6 * len(metrics), 3.8), squeeze=False) as (canvas, grid):
        for axes, key in zip(grid[0], metrics, strict=True):
            for name, curve in methods.items():
                own = sorted(curve)
                line = "-" if len(own) > 1 else "none"
                axes.plot(own, [curve[n][key] for n in own], marker="o", markersize=5, ls=line, label=name)
            axes.set(xscale="log", xlabel="annotated images", title=metric_title(key, metrics))
            axes.set_xticks(counts, [str(count) for count in counts], minor=False)
            axes.set_xticks([], minor=True)
            highest = max(values[key] for curve in methods.values() for values in curve.values())
            axes.set_ylim(0, 1.08 * highest)
        handles, names = grid[0, 0].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=9)
        return style.save_figure(canvas, path)
