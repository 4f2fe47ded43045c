"""Moves landmarks of shapes away, and counts how many of them are found abnormal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from mmlandmark.shape import PointDistributionModel, ShapePrior
from mmlandmark.utils.table_text import markdown_table

EDGES = (5.0, 10.0, 20.0, 50.0)  # mm: moves are from the first to the last, and counted between these
MOST = 5  # landmarks of a shape that are moved
LIMIT, GATE = 2.0, 5.0  # Z in mm, and standard deviations
NOISE = 1.0  # mm, standard deviation along every axis


class Verdict(NamedTuple):
    """What a way makes of shapes: which landmarks it keeps, where, and where it would put all of them."""

    points: np.ndarray
    kept: np.ndarray
    adjusted: np.ndarray


def ways_of(learnt: np.ndarray) -> dict[str, Callable[[np.ndarray], Verdict]]:
    """Return the ways to find abnormal landmarks of shapes (N, K, D).

    Args:
        learnt: (N, K, D) mm, what the ways learn from.
    """
    plain, careful = (PointDistributionModel.fit(learnt, robust=robust) for robust in (False, True))
    prior = ShapePrior.fit(learnt)

    def by(model: PointDistributionModel, points: np.ndarray) -> Verdict:
        regulated = model.regulate(points, LIMIT)
        return Verdict(regulated.points, regulated.kept, model.adjust(points).points)

    def agreed(points: np.ndarray) -> Verdict:
        return Verdict(points, prior.consistent(points, GATE), points)

    def agreed_and_adjusted(points: np.ndarray) -> Verdict:
        return by(plain, np.where(prior.consistent(points, GATE)[..., None], points, np.nan))

    return {
        "adjustment": lambda points: by(plain, points),
        "adjustment, robust": lambda points: by(careful, points),
        "agreement": agreed,
        "agreement, then adjustment": agreed_and_adjusted,
    }


def moved(points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return shapes (N, K, D) of which 1 to 5 landmarks were moved, and by how much each, (N, K), in mm."""
    points, distance = points.copy(), np.zeros(points.shape[:2])
    for n in range(len(points)):
        chosen = rng.choice(points.shape[1], rng.integers(1, MOST + 1), replace=False)
        way = rng.normal(size=(len(chosen), points.shape[2]))
        distance[n, chosen] = rng.uniform(EDGES[0], EDGES[-1], len(chosen))
        points[n, chosen] += way / np.linalg.norm(way, axis=1)[:, None] * distance[n, chosen][:, None]
    return points, distance


def measure(learnt: np.ndarray, held_out: np.ndarray, seeds: Sequence[int] = (0,)) -> list[dict[str, Any]]:
    """Return what every way finds in moved, in noisy and in unchanged shapes.

    Args:
        learnt: (N, K, D) mm, complete.
        held_out: (M, K, D) mm of other cases, complete.
        seeds: Of moves and noise; counts and errors are of all of them together.
    """
    rows: list[dict[str, Any]] = []
    for name, way in ways_of(learnt).items():
        unchanged = way(held_out).kept
        found: dict[str, list[np.ndarray]] = {}
        for seed in seeds:
            rng = np.random.default_rng([seed, len(held_out)])
            given, distance = moved(held_out, rng)
            noisy = held_out + rng.normal(0, NOISE, held_out.shape)
            of_given, of_noisy = way(given), way(noisy)
            arrays = dict(
                distance=distance, kept=of_given.kept, noisy_kept=of_noisy.kept,
                adjusted=_error(of_given.adjusted, held_out), after=_error(of_given.points, held_out),
                noisy_before=_error(noisy, held_out), noisy_after=_error(of_noisy.points, held_out),
            )  # fmt: skip
            for key, value in arrays.items():
                found.setdefault(key, []).append(value)
        rows.append(dict(way=name, **_summary({k: np.concatenate(v) for k, v in found.items()}, unchanged)))
    return rows


def _error(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - truth, axis=2)


def _summary(found: dict[str, np.ndarray], unchanged: np.ndarray) -> dict[str, Any]:
    distance, kept = found["distance"], found["kept"]
    wrong = distance > 0
    between = [(distance > a) & (distance <= b) for a, b in pairwise(EDGES)]
    noisy = found["noisy_kept"]
    return dict(
        recall=float((~kept)[wrong].mean()),
        recall_by_distance=[float((~kept)[some].mean()) for some in between],
        alarms_beside_wrong=float((~kept)[~wrong].mean()),
        alarms=float((~unchanged).mean()),
        alarmed_shapes=float((~unchanged).any(axis=1).mean()),
        error_before=float(distance.mean()),
        error_adjusted=float(np.nanmean(found["adjusted"])),
        error_of_kept=float(found["after"][kept].mean()),
        kept=float(kept.mean()),
        noisy_before=float(found["noisy_before"].mean()),
        noisy_of_kept=float(found["noisy_after"][noisy].mean()) if noisy.any() else None,
        noisy_kept=float(noisy.mean()),
    )


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows of :func:`measure`, with ``data``, ``learnt`` and ``held_out``, as a table."""
    head = [
        "shapes", "learnt from", "way", "wrong ones found (%)", "right ones beside them taken for wrong (%)",
        "in unchanged shapes (%)", "error (mm)", "all adjusted", "kept ones",
        "noisy: error (mm)", "kept ones", "kept (%)",
    ]  # fmt: skip
    cells = []
    for row in rows:
        parts = (row["recall"], row["alarms_beside_wrong"], row["alarms"])
        percent = [f"{100 * part:.1f}" for part in parts]
        errors = [row[key] for key in ("error_before", "error_adjusted", "error_of_kept")]
        errors += [row["noisy_before"], row["noisy_of_kept"]]
        mm = ["-" if error is None else f"{error:.2f}" for error in errors]
        first = [row["data"], str(row["learnt"]), row["way"]]
        cells.append([*first, *percent, *mm, f"{100 * row['noisy_kept']:.0f}"])
    return markdown_table(head, cells, left=3)
