"""Figures of a calibration: nominal against observed coverage, errors found by looking at some points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmlandmark.visualization import style


def plot_coverage(
    nominal: Sequence[float], observed: Mapping[str, Sequence[float]], path: str | Path, *, title: str = ""
) -> Path:
    """Draw nominal against observed coverage; a calibration that holds lies on the diagonal.

    Args:
        nominal: Levels between 0 and 1.
        observed: Name of a curve -> the share of points that were covered at every level, NaN where there is
            none.
        path: PNG to write.
        title: Of the figure.

    Raises:
        ValueError: There is no curve, or one has another length than the levels.
    """
    _check(nominal, observed, path)
    levels = 100 * np.asarray(nominal)
    with style.figure(1, 2, size=(9.6, 4.4)) as (canvas, (left, right)):
        left.plot([0, 100], [0, 100], color="#888888", linewidth=0.9, linestyle="--")
        right.axhline(0, color="#888888", linewidth=0.9, linestyle="--")
        for name, shares in observed.items():
            share = 100 * np.asarray(shares, dtype=float)  # None and NaN leave gaps
            left.plot(levels, share, marker="o", markersize=3, label=name)
            right.plot(levels, share - levels, marker="o", markersize=3, label=name)
        left.set(xlim=(0, 100), ylim=(0, 100), xlabel="nominal (%)", ylabel="observed (%)", aspect="equal")
        left.set_title(title or "Coverage")
        left.legend(loc="upper left")
        right.axhspan(-3, 3, color="#eeeeee", zorder=0)
        right.set(xlim=(0, 100), xlabel="nominal (%)", ylabel="observed - nominal (points)")
        right.set_title("Difference, grey: 3 points")
        low, high = right.get_ylim()
        right.set_ylim(min(low, -5), max(high, 5))
        return style.save_figure(canvas, path)


def plot_landmark_coverage(
    names: Sequence[str],
    observed: Sequence[float],
    points: Sequence[int],
    path: str | Path,
    *,
    level: float,
    scores: Sequence[int] | None = None,
) -> Path:
    """Draw the observed coverage of every landmark at one level, with what chance alone would make of it.

    The grey bars are two standard deviations of a coverage that is calibrated on ``scores`` images and
    observed on ``points`` others.

    Args:
        names: K names.
        observed: K shares of points that were covered, NaN where there is none.
        points: K numbers of tested points.
        path: PNG to write.
        level: Nominal coverage.
        scores: K numbers of calibration scores; None takes the calibration as exact.

    Raises:
        ValueError: Lengths differ.
    """
    if not len(names) == len(observed) == len(points) == len(scores or points):
        raise ValueError(f"{path}: names, observed coverage, points and scores differ in number")
    tested, fitted = np.maximum(points, 1), np.inf if scores is None else np.maximum(scores, 1)
    chance = 200 * np.sqrt(level * (1 - level) * (1 / tested + 1 / np.asarray(fitted, dtype=float)))
    with style.figure(size=(7.2, 1.2 + 0.27 * len(names))) as (canvas, axis):
        rows = np.arange(1, len(names) + 1)
        axis.barh(rows, 2 * chance, left=100 * level - chance, color="#dddddd", height=0.7)
        axis.axvline(100 * level, color="#555555", linewidth=0.9, linestyle="--")
        shares = 100 * np.asarray(observed, dtype=float)
        for row, share, width in zip(rows, shares, chance, strict=True):
            color = style.BLUE if abs(share - 100 * level) <= width else style.VERMILLION
            axis.plot(share, row, "o", color=style.hex_color(color))
        axis.set_yticks(rows, list(names))
        axis.use_sticky_edges = False  # the bars do not end at the frame
        axis.set(ylim=(len(names) + 0.6, 0.4), xlabel="observed coverage (%)")
        axis.set_title(f"Coverage of every landmark, nominal {level:.0%}; grey: chance")
        axis.grid(axis="y", visible=False)
        return style.save_figure(canvas, path)


def plot_flags(
    looked_at: Sequence[float],
    caught: Mapping[str, Sequence[float]],
    path: str | Path,
    *,
    what: str,
    rate: float | None = None,
) -> Path:
    """Draw the share of errors that are found by looking at the most doubtful points first.

    Args:
        looked_at: Shares of all points, from 0 to 1.
        caught: Name of a curve -> the share of the errors among them.
        path: PNG to write.
        what: What an error is, such as ``errors > 4 mm``.
        rate: Share of points that is flagged, to mark.

    Raises:
        ValueError: There is no curve, or one has another length than ``looked_at``.
    """
    _check(looked_at, caught, path)
    with style.figure(size=(5.6, 4.4)) as (canvas, axis):
        axis.plot([0, 100], [0, 100], color="#888888", linewidth=0.9, linestyle="--", label="at random")
        for name, shares in caught.items():
            axis.plot(100 * np.asarray(looked_at), 100 * np.asarray(shares), label=name)
        if rate is not None:
            axis.axvline(100 * rate, color="#888888", linewidth=0.8, linestyle=":")
        axis.set(xlim=(0, 100), ylim=(0, 101), xlabel="points looked at (%)", ylabel=f"{what} found (%)")
        axis.set_title("Look at the most doubtful points first")
        axis.legend(loc="lower right")
        return style.save_figure(canvas, path)


def _check(x: Sequence[float], curves: Mapping[str, Sequence[float]], path: str | Path) -> None:
    wrong = {name: len(values) for name, values in curves.items() if len(values) != len(x)}
    if not curves or wrong:
        raise ValueError(f"{path}: every curve needs {len(x)} values, got {wrong or 'no curve'}")
