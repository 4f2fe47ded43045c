"""Figures of trainings and evaluations: curves, cumulative errors, errors by landmark."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.evaluation.comparison import PairedTest
from mmlandmark.evaluation.functional import cumulative_curve, success_rate
from mmlandmark.utils.files import read_json
from mmlandmark.visualization import style


def read_scalars(paths: str | Path | Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return the rows of one or several ``vis_data/scalars.json`` of MMEngine, one JSON object per line.

    An incomplete last line, which a killed run can leave, is ignored.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: Another line is not a JSON object; the message names file and line.
    """
    rows: list[dict[str, Any]] = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                if number == len(lines):
                    break
                raise ValueError(f"{path}: line {number} is not JSON: {error.msg}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}: line {number} is not a JSON object")
            rows.append(row)
    return rows


def read_errors(path: str | Path) -> tuple[np.ndarray, list[str], str]:
    """Return (N, K) errors, K names and the unit from a ``predictions_file`` of ``LandmarkMetric``.

    Raises:
        ValueError: It is not such a file; the message names it.
    """
    try:
        data = read_json(path)
        errors = np.array([case["errors"] for case in data["cases"]], dtype=np.float64)
        return errors, list(data["landmark_names"]), data["unit"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a predictions file of LandmarkMetric: {error!r}") from error


def plot_training(scalars: str | Path | Sequence[str | Path], path: str | Path) -> Path:
    """Draw loss, learning rate, validation MRE and SDR of a run as PNG; a resumed run has several files.

    Args:
        scalars: One or several ``scalars.json``, oldest first.
        path: PNG to write.

    Raises:
        ValueError: The files hold no loss and no validation result.
    """
    rows = read_scalars(scalars)
    train = [row for row in rows if "loss" in row]
    val = [row for row in rows if "loss" not in row and any(_is_metric(key) for key in row)]
    panels = [panel for panel in (_loss_panel(train), _rate_panel(train), *_val_panels(val, train)) if panel]
    if not panels:
        raise ValueError(f"{scalars}: no training loss and no validation result (mre, sdr_...) in it")
    columns = min(len(panels), 2)
    count = -(-len(panels) // columns)
    with style.figure(count, columns, size=(5.2 * columns, 3.2 * count), squeeze=False) as (canvas, axes):
        for axis in axes.flat[len(panels) :]:
            axis.remove()
        for axis, (title, x_label, series, log) in zip(axes.flat, panels, strict=False):
            for name, (x, y) in series.items():
                axis.plot(x, y, label=name, marker="o" if len(x) < 40 else None, markersize=3)
            if log:
                axis.set_yscale("log")
                # A loss seldom spans a decade: plain numbers at every tick instead of powers of ten.
                axis.yaxis.set_major_formatter("{x:g}")
                axis.yaxis.set_minor_formatter("{x:g}")
            axis.set(title=title, xlabel=x_label)
            if len(series) > 1:
                axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return style.save_figure(canvas, path)


def plot_cumulative_errors(
    runs: Mapping[str, np.ndarray],
    path: str | Path,
    *,
    unit: str = "mm",
    radii: Sequence[float] = (2, 2.5, 3, 4),
    limit: float | None = None,
    annotated: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Draw the share of points within every error, one curve per run, with the success rates at the radii.

    Args:
        runs: (N, K) errors by the name of the run, NaN where there is none.
        path: PNG to write.
        unit: Unit of errors and radii.
        radii: Radii to mark.
        limit: Largest error to show; the default is 1.5 times the largest radius.
        annotated: (N, K) bool by run, see ``success_rate``'s ``valid``.

    Raises:
        ValueError: There is no run.
    """
    if not runs:
        raise ValueError(f"{path}: no run to draw")
    limit = 1.5 * max(radii) if limit is None else limit
    grid = np.linspace(0, limit, 301)
    with style.figure(size=(6.4, 4.4)) as (canvas, axis):
        for radius in radii:
            axis.axvline(radius, color="#888888", linewidth=0.8, linestyle=":")
        for name, errors in runs.items():
            valid = None if annotated is None else annotated.get(name)
            rates = " / ".join(f"{success_rate(errors, radius, valid=valid):.1f}" for radius in radii)
            axis.plot(grid, cumulative_curve(errors, grid, valid), label=f"{name}: {rates} %")
        axis.set(xlim=(0, limit), ylim=(0, 100), xlabel=f"error ({unit})", ylabel="points within it (%)")
        axis.set_title(f"Cumulative error, SDR at {' / '.join(f'{radius:g}' for radius in radii)} {unit}")
        axis.legend(loc="lower right")
        return style.save_figure(canvas, path)


def plot_differences(
    tests: Mapping[str, PairedTest], path: str | Path, *, against: str, unit: str = "mm"
) -> Path:
    """Draw the mean difference between every method and a baseline, with its 95 % confidence interval.

    Args:
        tests: Paired tests by the name of the method.
        path: PNG to write.
        against: Name of the baseline.
        unit: Unit of the differences.

    Raises:
        ValueError: There is no test.
    """
    if not tests:
        raise ValueError(f"{path}: nothing to compare {against!r} with")
    with style.figure(size=(6.4, 1.4 + 0.45 * len(tests))) as (canvas, axis):
        axis.axvline(0, color="#555555", linewidth=0.9, linestyle="--")
        for row, test in enumerate(tests.values()):
            low, high = test.interval
            color = style.hex_color(style.BLUE) if low > 0 or high < 0 else "#888888"
            axis.plot([low, high], [row, row], color=color, linewidth=2)
            axis.plot(test.difference, row, "o", color=color)
            box = dict(facecolor=axis.get_facecolor(), edgecolor="none", pad=0.5)  # over the line at zero
            words = dict(textcoords="offset points", va="center", fontsize=8, bbox=box)
            end = test.difference if math.isnan(high) else high
            axis.annotate(f"p = {test.t_text}", (end, row), (6, 0), **words)
        axis.set_yticks(range(len(tests)), list(tests))
        axis.set(ylim=(len(tests) - 0.4, -0.6), xlabel=f"difference of the mean error ({unit})")
        axis.margins(x=0.18)
        axis.set_title(f"Against {against}: left is better")
        axis.grid(axis="y", visible=False)
        return style.save_figure(canvas, path)


def plot_landmark_errors(
    errors: np.ndarray,
    names: Sequence[str],
    path: str | Path,
    *,
    unit: str = "mm",
    radius: float | None = None,
) -> Path:
    """Draw a box per landmark: quartiles, median, mean (diamond), whiskers to the 95th percentile, then dots.

    The axis ends beyond the longest whisker. Text at its right gives the number of points further out and
    the largest error.

    Args:
        errors: (N, K) errors, NaN where there is none.
        names: K names.
        path: PNG to write.
        unit: Unit of the errors.
        radius: Radius to mark by a line.

    Raises:
        ValueError: Names and errors differ in number, or there are no errors.
    """
    errors = np.asarray(errors, dtype=np.float64)
    if errors.ndim != 2 or errors.shape[1] != len(names):
        raise ValueError(f"errors {errors.shape} and {len(names)} names disagree")
    columns = [column[np.isfinite(column)] for column in errors.T]
    if not any(column.size for column in columns):
        raise ValueError(f"{path}: no error to draw, all are missing")
    whiskers = max(np.percentile(column, 95) for column in columns if column.size)
    limit = 1.25 * max(whiskers, radius or 0.0, 1e-9)
    with style.figure(size=(7.2, 1.2 + 0.27 * len(names))) as (canvas, axis):
        lying = "orientation" in inspect.signature(axis.boxplot).parameters  # Matplotlib >= 3.10
        direction = {"orientation": "horizontal"} if lying else {"vert": False}
        axis.boxplot(columns, whis=(0, 95), showmeans=True, **direction, **_box_look())
        for row, column in enumerate(columns, start=1):
            beyond = column[column > limit]
            if beyond.size:
                words = f"+{beyond.size}, up to {beyond.max():.3g}"
                axis.text(
                    1.01 * limit, row, words, va="center", fontsize=8, color=style.hex_color(style.VERMILLION)
                )
        if radius is not None:
            axis.axvline(radius, color="#555555", linewidth=0.9, linestyle="--")
        axis.set_yticks(range(1, len(names) + 1), list(names))
        axis.set(xlim=(0, limit), ylim=(len(names) + 0.6, 0.4), xlabel=f"error ({unit})")
        axis.set_title("Error of every landmark" + ("" if radius is None else f", line at {radius:g} {unit}"))
        axis.grid(axis="y", visible=False)
        return style.save_figure(canvas, path)


def _box_look() -> dict[str, Any]:
    blue, pale = style.hex_color(style.BLUE), "#cfe3f1"
    return dict(
        widths=0.6,
        patch_artist=True,
        boxprops=dict(facecolor=pale, edgecolor=blue),
        medianprops=dict(color=blue, linewidth=2),
        whiskerprops=dict(color=blue),
        capprops=dict(color=blue),
        meanprops=dict(
            marker="D", markersize=4, markerfacecolor=style.hex_color(style.ORANGE), markeredgecolor="none"
        ),
        flierprops=dict(marker=".", markersize=3, markerfacecolor="#777777", markeredgecolor="none"),
    )


def _is_metric(key: str) -> bool:
    name = key.rsplit("/", 1)[-1]
    return name == "mre" or name.startswith("sdr_")


def _series(rows: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Return steps and values of a key; of a step written twice, as after a resume, the last value counts."""
    values = {row["step"]: row[key] for row in rows if row.get(key) is not None and "step" in row}
    return sorted(values), [values[step] for step in sorted(values)]


def _loss_panel(train: list[dict[str, Any]]) -> tuple | None:
    keys = [
        "loss",
        *sorted({key for row in train for key in row if key.startswith("loss") and key != "loss"}),
    ]
    series = {key: _series(train, key) for key in keys[:7]}
    if len(series) == 2 and series["loss"] == series[keys[1]]:
        del series[keys[1]]  # a single loss equals the sum
    values = [value for _, y in series.values() for value in y]
    return ("Training loss", "iteration", series, min(values) > 0) if values else None


def _rate_panel(train: list[dict[str, Any]]) -> tuple | None:
    series = _series(train, "lr")
    return ("Learning rate", "iteration", {"lr": series}, False) if series[0] else None


def _val_panels(val: list[dict[str, Any]], train: list[dict[str, Any]]) -> list[tuple]:
    epochs = max((row.get("epoch", 0) for row in train), default=0)
    x_label = "epoch" if all(row.get("step", 0) <= epochs for row in val) else "iteration"
    keys = sorted({key for row in val for key in row if _is_metric(key)}, key=_radius)
    units = {match[1] for match in (re.search(r"sdr_[\d.]+(\w+)$", key) for key in keys) if match}
    unit = f" ({units.pop()})" if len(units) == 1 else ""
    panels = []
    for title, wanted in ((f"Validation MRE{unit}", "mre"), ("Validation SDR (%)", "sdr_")):
        series = {key: _series(val, key) for key in keys if key.rsplit("/", 1)[-1].startswith(wanted)}
        if series:
            panels.append((title, x_label, series, False))
    return panels


def _radius(key: str) -> tuple[float, str]:
    match = re.search(r"sdr_(\d+(?:\.\d+)?)", key)
    return (float(match[1]) if match else 0.0), key
