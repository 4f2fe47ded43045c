"""How single landmarks are learnt by several trainings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmlandmark.visualization import style

_COLUMNS = 3


def plot_landmark_curves(
    runs: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], path: str | Path, unit: str = "mm"
) -> Path:
    """Draw a panel per landmark, a curve per training.

    Args:
        runs: Name -> landmark -> ``part`` of the training, from 0 to 1, and ``mre``; all have the same ones.
        path: PNG to write.
        unit: Of the errors.
    """
    landmarks = list(next(iter(runs.values())))
    columns = min(_COLUMNS, len(landmarks))
    rows = -(-len(landmarks) // columns)
    with style.figure(
        rows, columns, size=(3.0 * columns + 0.6, 2.7 * rows + 0.5), sharex=True, squeeze=False
    ) as (canvas, grid):
        for axes, landmark in itertools.zip_longest(grid.flat, landmarks):
            if landmark is None:
                axes.set_visible(False)
                continue
            for (name, curves), color in zip(runs.items(), itertools.cycle(style.CYCLE), strict=False):
                curve = curves[landmark]
                part = [100 * done for done in curve["part"]]
                axes.plot(
                    part, curve["mre"], marker="o", markersize=3, label=name, color=style.hex_color(color)
                )
            axes.set_title(landmark)
            axes.set_xlim(0, 102)
        for axes in grid[:, 0]:
            axes.set_ylabel(f"mean error ({unit})")
        for place, axes in enumerate(grid.flat[: len(landmarks)]):
            if place + columns >= len(landmarks):
                axes.set_xlabel("part of the training (%)")
                axes.tick_params(labelbottom=True)
        handles, names = grid.flat[0].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=9)
        return style.save_figure(canvas, path)
