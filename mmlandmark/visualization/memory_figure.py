"""Memory against the size of volumes, as ``mmlandmark benchmark-memory`` has measured it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmlandmark.visualization import style


def plot_memory(record: Mapping[str, Any], path: str | Path) -> Path:
    """Draw peak memory against the number of voxels, training and prediction side by side.

    Args:
        record: ``rows`` with ``part`` (``predict`` or ``train``), ``way``, ``size`` (*S) and
            ``peak_gigabytes``; and the number of ``landmarks``.
        path: PNG to write.

    Raises:
        ValueError: Nothing was measured.
    """
    rows = [row for row in record["rows"] if row["peak_gigabytes"] is not None]
    if not rows:
        raise ValueError(f"{path}: no memory was measured")
    titles = dict(predict="Prediction", train="Training, two steps")
    with style.figure(1, 2, size=(9.6, 4.2), sharex=True, sharey=True) as (canvas, axes):
        for axis, (part, title) in zip(axes, titles.items(), strict=True):
            ways = dict.fromkeys(row["way"] for row in rows if row["part"] == part)
            for way in ways:
                own = sorted(
                    (math.prod(row["size"]) / 1e6, row["peak_gigabytes"])
                    for row in rows
                    if (row["part"], row["way"]) == (part, way)
                )
                axis.plot(*zip(*own, strict=True), marker="o", markersize=4, label=way)
            axis.set(xscale="log", yscale="log", xlabel="voxels (millions)", title=title)
            ticks = (0.5, 1, 2, 4, 8)
            axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
            axis.set_yticks([], minor=True)
            if ways:
                axis.legend(loc="upper left")
        axes[0].set_ylabel(f"peak memory (GiB), {record['landmarks']} landmarks")
        return style.save_figure(canvas, path)
