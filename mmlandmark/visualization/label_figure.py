"""How pseudo labels change from round to round."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.visualization import style

_ADJUSTED, _PREDICTED, _LEARNT, _MASKED = map(
    style.hex_color, (style.GREEN, style.ORANGE, style.BLUE, style.VERMILLION)
)
_SHARES = (("adjusted", _ADJUSTED), ("masked", _MASKED))
_ERRORS = (
    ("error_predicted", "all as predicted", _PREDICTED),
    ("error_kept", "labels learnt from", _LEARNT),
    ("error_masked", "masked", _MASKED),
)
_MOST = 1.3  # of the largest error that labels begin with: what fails leaves the figure
_MARKED = 16  # on a curve


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
        for key, color in _SHARES:
            parts = [100 * row[key] / max(row["landmarks"], 1) for row in rows]
            shares.plot(epochs, parts, marker="o", markersize=3, label=key, color=color)
        # A few per cent shall be seen, too.
        shares.set(
            ylim=(0, min(105, max(10, 1.1 * shares.get_ylim()[1]))), ylabel="part of the landmarks (%)"
        )
        shares.set_title("pseudo labels")
        shares.legend()
        if known:
            errors = axes[1, 0]
            for key, label, color in _ERRORS:
                some = [row for row in known if row[key] is not None]
                if some:
                    xs, ys = [row["epoch"] for row in some], [row[key] for row in some]
                    errors.plot(xs, ys, marker="o", markersize=3, label=label, color=color)
            errors.set(ylabel=f"true error ({known[-1]['unit']})")
            errors.set_ylim(bottom=0)
            errors.legend()
        axes[-1, 0].set_xlabel("epochs trained")
        axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
        return style.save_figure(canvas, path)


def plot_label_errors(studies: Mapping[str, Mapping[str, Any]], path: str | Path) -> Path:
    """Draw true errors of pseudo labels, a panel per study, a curve per arm: the mean of its seeds.

    Seeds that not all arms have are left out, if there are others: arms that began with other networks cannot
    be compared. Where labels that are learnt from are other points than those predicted, their curve is
    dashed.

    Args:
        studies: Title -> ``unit`` and ``arms``: name -> seed -> ``epoch``, ``predicted`` and ``kept``, lists.
        path: PNG to write.
    """
    from matplotlib.lines import Line2D

    looks = _looks(dict.fromkeys(name for study in studies.values() for name in study["arms"]))
    size = (max(5.2, 0.6 + 4.2 * len(studies)), 4.2)
    with style.figure(1, len(studies), size=size, squeeze=False) as (canvas, grid):
        for axes, (title, whole) in zip(grid[0], studies.items(), strict=True):
            shown, study = _of_common_seeds(whole)
            for name, seeds in study["arms"].items():
                for key, line in (("predicted", "-"), ("kept", "--")):
                    epochs, means, lowest, highest = _over_seeds(seeds.values(), key)
                    if key == "kept" and means == _over_seeds(seeds.values(), "predicted")[1]:
                        continue
                    every = math.ceil(max(len(epochs), 1) / _MARKED)
                    axes.plot(epochs, means, line, markevery=every, **looks[name])
                    axes.fill_between(
                        epochs, lowest, highest, color=looks[name]["color"], alpha=0.12, linewidth=0
                    )
            axes.set(xlabel="epochs of self-training", ylabel=f"true error ({study['unit']})")
            axes.set_title(f"{title}, seed{'s' * (len(shown) > 1)} {', '.join(shown)}")
            axes.xaxis.get_major_locator().set_params(integer=True)
            _cut(axes, study)
        lines = [Line2D([], [], label=name, **look) for name, look in looks.items()]
        lines += [
            Line2D([], [], color="#555555", linestyle="-", label="all as predicted"),
            Line2D([], [], color="#555555", linestyle="--", label="labels learnt from, if others"),
        ]
        canvas.legend(
            handles=lines, loc="outside lower center", ncols=min(len(lines), 3 * len(studies)), fontsize=8
        )
        return style.save_figure(canvas, path)


def _looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return color and marks of every curve; when all colors are used, they begin again with other marks."""
    marks = [dict(marker="o", markersize=3), dict(marker="s", markersize=5, markerfacecolor="white")]
    looks = [dict(mark, color=style.hex_color(color)) for mark in marks for color in style.CYCLE]
    return dict(zip(names, itertools.cycle(looks), strict=False))


def _of_common_seeds(study: Mapping[str, Any]) -> tuple[list[str], Mapping[str, Any]]:
    """Return the seeds that all arms have, or all if there is none, and the study with these alone."""
    arms = study["arms"]
    common = set.intersection(*(set(seeds) for seeds in arms.values()))
    shown = sorted(common or {seed for seeds in arms.values() for seed in seeds}, key=int)
    kept = {name: {s: run for s, run in seeds.items() if s in shown} for name, seeds in arms.items()}
    return shown, dict(study, arms=kept)


def _cut(axes: Any, study: Mapping[str, Any]) -> None:
    """End the axis of errors where an arm that fails would hide the others, and say where that one goes."""
    errors = {name: [run["predicted"] for run in seeds.values()] for name, seeds in study["arms"].items()}
    top = _MOST * max(run[0] for runs in errors.values() for run in runs)
    failing = {name: max(map(max, runs)) for name, runs in errors.items() if max(map(max, runs)) > top}
    if failing:
        lowest = min(
            error for seeds in study["arms"].values() for run in seeds.values() for error in _known(run)
        )
        axes.set_ylim(0.97 * lowest, top)
        text = ", ".join(f"{name} up to {error:.3g} {study['unit']}" for name, error in failing.items())
        paper = dict(facecolor="white", edgecolor="none", pad=1)
        axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", fontsize=8, bbox=paper)


def _known(run: Mapping[str, Any]) -> list[float]:
    return [error for key in ("predicted", "kept") for error in run[key] if error is not None]


def _over_seeds(seeds: Iterable[Mapping[str, Any]], key: str) -> tuple[list[int], list, list, list]:
    """Return the epochs in which every seed has a value; and their means, minima and maxima."""
    runs = [
        {epoch: error for epoch, error in zip(run["epoch"], run[key], strict=True) if error is not None}
        for run in seeds
    ]
    epochs = sorted(set.intersection(*(set(run) for run in runs)))
    table = [[run[epoch] for run in runs] for epoch in epochs]
    return epochs, [float(np.mean(row)) for row in table], list(map(min, table)), list(map(max, table))


def plot_labels(rows: Sequence[Mapping[str, Any]], titles: Sequence[str], path: str | Path) -> Path:
    """Draw landmarks of images without annotation, round by round, in a crop around them.

    Args:
        rows: One landmark of one image each: ``name``; ``image``, (H, W, 3) uint8; and, in its pixels,
            ``predicted`` (R, 2) in R rounds, ``labels`` (R, 2), ``kept`` (R,) whether they are learnt from,
            and ``truth`` (2,), NaN where nobody knows it.
        titles: Of the R rounds.
        path: PNG to write.
    """
    from matplotlib.lines import Line2D

    width, height = 1.2 + 1.75 * len(titles), 0.75 + 1.75 * len(rows)
    with style.figure(len(rows), len(titles), size=(max(width, 5.2), height), squeeze=False) as (
        canvas,
        grid,
    ):
        for axes, row in zip(grid, rows, strict=True):
            for n, cell in enumerate(axes):
                _draw_label(cell, row, n)
            axes[0].set_ylabel(row["name"], fontsize=8)
        for cell, title in zip(grid[0], titles, strict=True):
            cell.set_title(title, fontsize=9)
        kinds = dict(_MARKS)
        if not any(np.isfinite(row["truth"]).all() for row in rows):
            del kinds["hidden annotation"]
        marks = [Line2D([], [], linestyle="none", label=name, **kind) for name, kind in kinds.items()]
        canvas.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=8)
        return style.save_figure(canvas, path)


_MARKS: dict[str, dict[str, Any]] = {
    "predicted": dict(marker="o", color=_PREDICTED, fillstyle="none", markersize=9),
    "learnt from": dict(marker="+", color=style.hex_color(style.SKY_BLUE), markersize=10, markeredgewidth=2),
    "masked": dict(marker="x", color=_MASKED, markersize=8, markeredgewidth=2),
    "hidden annotation": dict(marker=".", color=style.hex_color(style.GREEN), markersize=9),
}


def _draw_label(cell: Any, row: Mapping[str, Any], n: int) -> None:
    """Draw one round of one landmark."""
    image, kept = row["image"], row["kept"][n]
    places = np.vstack([row["predicted"], row["truth"][None]])
    places = places[np.isfinite(places).all(axis=1)]
    low, high = places.min(axis=0), places.max(axis=0)
    half = max(0.6 * float((high - low).max()), 0.08 * max(image.shape[:2]))
    cell.imshow(image, interpolation="bilinear")
    drawn = [("hidden annotation", row["truth"]), ("predicted", row["predicted"][n])]
    drawn.append(("learnt from", row["labels"][n]) if kept else ("masked", row["predicted"][n]))
    for name, point in drawn:
        if np.isfinite(point).all():
            cell.plot(*point, linestyle="none", **_MARKS[name])
    middle = (low + high) / 2
    cell.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
    cell.set(xticks=[], yticks=[], facecolor="black")
    cell.grid(visible=False)
