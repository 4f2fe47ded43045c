"""How pseudo labels change from round to round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmlandmark.visualization import style

_ERRORS = (
    ("error_predicted", "all as predicted"),
    ("error_kept", "labels learnt from"),
    ("error_masked", "masked"),
)


def plot_rounds(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draw which part of the landmarks was adjusted and masked and, if the truth is known, their errors.

    Args:
        rows: Of :func:`mmlandmark.engine.label_rounds.summary`, one or more.
        path: PNG to write.
    """
    epochs = [row["epoch"] for row in rows]
    known = [row for row in rows if row.get("error_predicted") is not None]
    with style.figure(
        2 if known else 1, 1, size=(6.4, 5.2 if known else 3.0), sharex=True, squeeze=False
    ) as (
        canvas,
        axes,
    ):
        shares = axes[0, 0]
        for key in ("adjusted", "masked"):
            parts = [100 * row[key] / max(row["landmarks"], 1) for row in rows]
            shares.plot(epochs, parts, marker="o", markersize=3, label=key)
        # A few per cent shall be seen, too.
        shares.set(
            ylim=(0, min(105, max(10, 1.1 * shares.get_ylim()[1]))), ylabel="part of the landmarks (%)"
        )
        shares.set_title("pseudo labels")
        shares.legend()
        if known:
            errors = axes[1, 0]
            for key, label in _ERRORS:
                some = [row for row in known if row[key] is not None]
                if some:
                    xs, ys = [row["epoch"] for row in some], [row[key] for row in some]
                    errors.plot(xs, ys, marker="o", markersize=3, label=label)
            errors.set(ylabel=f"true error ({known[-1]['unit']})")
            errors.set_ylim(bottom=0)
            errors.legend()
        axes[-1, 0].set_xlabel("epochs trained")
        axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
        return style.save_figure(canvas, path)
