"""How many landmarks are taken for wrong, as ``mmlandmark measure-checks --abnormal`` has measured it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.visualization import style

_GROUPS = (
    "moved by\n5 to 10 mm", "moved by\n10 to 20 mm", "moved by\n20 to 50 mm",
    "right, beside\nmoved ones", "right, in un-\nchanged shapes",
)  # fmt: skip


def plot_abnormal(record: Mapping[str, Any], path: str | Path, data: str) -> Path:
    """Draw the shares of wrong and of right landmarks that are taken for wrong, a panel per size of training.

    Args:
        record: ``rows`` of :func:`mmlandmark.testing.abnormal_landmarks.measure`, with ``data`` and
            ``learnt``.
        path: PNG to write.
        data: Of which of the data.

    Raises:
        ValueError: The record has no such data.
    """
    rows = [row for row in record["rows"] if row["data"] == data]
    if not rows:
        raise ValueError(f"{path}: nothing was measured of {data!r}")
    sizes = list(dict.fromkeys(row["learnt"] for row in rows))
    ways = list(dict.fromkeys(row["way"] for row in rows))
    place = np.arange(len(_GROUPS))
    width = 0.8 / len(ways)
    with style.figure(len(sizes), 1, size=(7.6, 2.2 * len(sizes) + 0.6), sharex=True, squeeze=False) as (
        canvas,
        axes,
    ):
        for axis, size in zip(axes.flat, sizes, strict=True):
            for number, row in enumerate(row for row in rows if row["learnt"] == size):
                shares = [*row["recall_by_distance"], row["alarms_beside_wrong"], row["alarms"]]
                offset = (number - (len(ways) - 1) / 2) * width
                axis.bar(place + offset, 100 * np.array(shares), width * 0.92, label=row["way"])
            axis.set(ylim=(0, 100), ylabel="taken for wrong (%)")
            axis.set_title(f"{data}, learnt from {size} shapes")
            axis.axvline(2.5, color="#888888", linewidth=0.8, linestyle=":")
            axis.grid(axis="x", visible=False)
        axes[-1, 0].set_xticks(place, _GROUPS)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=2)
        return style.save_figure(canvas, path)
