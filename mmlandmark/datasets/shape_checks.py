"""Checks of shapes: misplaced and exchanged landmarks, mirror images, shapes moved as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mmlandmark.datasets.axis_checks import exchanged_axes, upright_fractions
from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.shape import (
    Alignment,
    ShapeModel,
    Sides,
    Tails,
    align,
    angles_between,
    both_sides,
    chosen_side,
    cross_fitted,
    find_typical_of_some,
    mean_rotation,
    mirror_image,
)

_FEW = 12  # landmarks; in mirrored shapes with at most as many, the exchange of any two is tried
_SUSPECTS = 5  # landmarks of a shape that are tried as the cause
_TURNED = 0.35  # radians between two explanations for one of them to be the better


@dataclass(frozen=True)
class Limits:
    """Thresholds of the checks of shapes; see :class:`~mmlandmark.datasets.checks.Thresholds`."""

    shape: float
    landmark: float
    position: float
    min_records: int


class Judge:
    """Scores how unusual shapes are, compared with a set of shapes.

    Args:
        points: (N, K, D) landmarks in pixels, NaN where missing.
        typical: (K, D) typical shape, see :func:`~mmlandmark.shape.find_typical_of_some`.
        limits: Thresholds.

    Attributes:
        rows: Records that are scored: those with enough landmarks to be aligned.
        sides: Whether mirror images are usual in this set.
        mirrored: (N,) bool: fits clearly better when it is mirrored.
        poses: Pose of every record in its image, mirrored where that fits better.
        single: (N, K) distance of every landmark from where the others predict it, in standard deviations.
        whole: (N,) distance of a shape from the usual one, in standard deviations.
        threshold: Threshold of ``single``.
    """

    def __init__(self, points: np.ndarray, typical: np.ndarray, limits: Limits) -> None:
        self.points, self.limits = points, limits
        sides = Sides.find(points, typical)
        plain, other = sides.plain, sides.other
        self.typical, self.mirrored, self.sides = sides.typical, sides.mirrored, sides.usual
        self.rows = np.flatnonzero(sides.scored)
        with np.errstate(invalid="ignore"):
            flipped = other.residuals < plain.residuals
        self.flipped = flipped
        self.poses = chosen_side(flipped, plain, other)
        # A model fitted to few shapes is inaccurate.
        self.threshold = limits.landmark * (1 + 8 / max(len(self.rows), 1))
        trusted = np.isfinite(self.poses.shapes).any(axis=(1, 2))
        self._score(trusted)
        # Shapes that look wrong must not define what is usual.
        with np.errstate(invalid="ignore"):
            wrong = (self.single > self.threshold).any(axis=1) | (self.whole > limits.shape)
        if 2 * (trusted & ~wrong).sum() > trusted.sum():
            self._score(trusted & ~wrong)

    def _score(self, trusted: np.ndarray) -> None:
        single, whole, self.models = cross_fitted(self.poses.shapes, self.typical, trusted)
        self._tails = Tails.match(single[trusted], self.points.shape[2], quantile=0.95)
        self.single = self._tails.rescaled(single)
        logs = np.log(np.maximum(whole, 1e-6))
        middle = float(np.nanmedian(logs[trusted]))
        spread = 1.4826 * float(np.nanmedian(np.abs(logs[trusted] - middle)))
        self.whole = (logs - middle) / max(spread, 0.05)

    def judge(self, shapes: np.ndarray, model: ShapeModel) -> np.ndarray:
        """Return (M, K) scores like ``single`` of other shapes (M, K, D) in pixels."""
        plain, other = both_sides(shapes, self.typical)
        with np.errstate(invalid="ignore"):
            aligned = chosen_side(other.residuals < plain.residuals, plain, other)
        return self.distances(aligned, model)

    def distances(self, aligned: Alignment, model: ShapeModel) -> np.ndarray:
        """Return (M, K) scores like ``single`` of M aligned shapes."""
        return self._tails.rescaled(model.distances(aligned.shapes)[0])


def shape_faults(cases: Cases, limits: Limits) -> Iterator[Finding]:
    """Shapes, single landmarks, mirror images and positions that do not fit the others."""
    points = cases.comparable()
    enough = (np.isfinite(points).all(axis=2).sum(axis=1) > points.shape[2]).sum()
    typical = find_typical_of_some(points) if enough >= limits.min_records else None
    if typical is None:
        return
    judge = Judge(points, typical, limits)
    moved = list(exchanged_axes(cases, judge)) if cases.schema.dims == 3 else []
    named = {(finding.split, finding.sample_id) for finding in moved}
    for finding in _turned(cases, judge):
        if (finding.split, finding.sample_id) not in named:
            moved.append(finding)
    yield from moved
    explained = {*named}
    named = {(finding.split, finding.sample_id) for finding in moved}
    for finding in _outliers(cases, judge):
        if (finding.split, finding.sample_id) not in explained:
            yield finding
    for finding in _positions(cases, judge):
        if (finding.split, finding.sample_id) not in named:
            yield finding


# ---- single landmarks and whole shapes -----------------------------------------------------------


def _outliers(cases: Cases, judge: Judge) -> Iterator[Finding]:
    with np.errstate(invalid="ignore"):
        worst = np.nanmax(np.where(np.isnan(judge.single), -1.0, judge.single), axis=1)
    for n in judge.rows:
        if worst[n] > judge.threshold:
            yield from _explained(cases, judge, int(n))
        elif judge.whole[n] > judge.limits.shape:
            yield _unlike(cases, judge, int(n), judge.whole[n])


def _explained(cases: Cases, judge: Judge, n: int) -> Iterator[Finding]:
    """Find the change that makes the shape fit: two landmarks exchanged, some moved, or all."""
    scores = judge.single[n]
    swap = _best_swap(cases, judge, n)
    if swap is not None:
        a, b, after = swap
        message = f"{cases.at(n, a)} and {cases.at(n, b)} seem to be exchanged"
        yield cases.finding(
            n, "swapped landmarks", message, landmarks=(a, b), score=float(np.nanmax(scores) - after)
        )
        return
    removed = _causes(judge, n)
    if removed is None:
        yield _unlike(cases, judge, n, max(judge.whole[n], float(np.nanmax(scores))))
        return
    for k, score in removed:
        message = (
            f"{cases.at(n, k)} is not where the other landmarks predict it ({score:.1f} standard deviations)"
        )
        yield cases.finding(n, "landmark outlier", message, landmarks=(k,), score=score)


def _unlike(cases: Cases, judge: Judge, n: int, score: float) -> Finding:
    k = int(np.nanargmax(judge.single[n]))
    message = f"unlike the other shapes ({score:.1f} standard deviations); farthest is {cases.at(n, k)}"
    return cases.finding(n, "shape outlier", message, landmarks=(k,), score=float(score))


def _best_swap(cases: Cases, judge: Judge, n: int) -> tuple[int, int, float] | None:
    """Return the pair of landmarks whose exchange makes the shape fit, and the worst score after it."""
    suspects = _worst(judge.single[n], judge.threshold)
    pairs = list(combinations(suspects, 2))
    pairs += [p for p in cases.schema.flip_pairs if set(p) & set(suspects) and p not in pairs]
    pairs = [p for p in pairs if np.isfinite(judge.points[n, list(p)]).all()]
    if not pairs:
        return None
    tried = np.repeat(judge.points[n][None], len(pairs), axis=0)
    for row, (a, b) in enumerate(pairs):
        tried[row, [a, b]] = tried[row, [b, a]]
    worst = np.nanmax(judge.judge(tried, judge.models[n]), axis=1)
    best = int(np.argmin(worst))
    if worst[best] > min(judge.threshold, 0.6 * float(np.nanmax(judge.single[n]))):
        return None
    a, b = sorted(pairs[best])
    return a, b, float(worst[best])


def _causes(judge: Judge, n: int) -> list[tuple[int, float]] | None:
    """Return the landmarks without which the rest fits, with their scores, or None if there are many."""
    shape, dims = judge.points[n].copy(), judge.points.shape[2]
    present = int(np.isfinite(shape).all(axis=1).sum())
    removed: list[tuple[int, float]] = []
    scores = judge.single[n]
    for _ in range(max(1, min(present // 4, present - dims - 1))):
        suspects = _worst(scores, judge.threshold)
        tried = np.repeat(shape[None], len(suspects), axis=0)
        for row, k in enumerate(suspects):
            tried[row, k] = np.nan
        after = judge.judge(tried, judge.models[n])
        sums = np.nansum(np.maximum(after - judge.threshold, 0), axis=1) + 1e-3 * np.nanmax(after, axis=1)
        best = int(np.argmin(sums))
        removed.append((int(suspects[best]), float(scores[suspects[best]])))
        shape, scores = tried[best], after[best]
        if np.nanmax(scores) <= judge.threshold:
            return removed
    return None


def _worst(scores: np.ndarray, threshold: float) -> list[int]:
    """Return a few landmarks with the highest scores, at least two."""
    order = np.argsort(-np.nan_to_num(scores, nan=-1.0))
    count = int(np.clip((scores[order] > threshold).sum(), 2, _SUSPECTS))
    return [int(k) for k in order[:count] if np.isfinite(scores[k])]


# ---- poses of shapes in their images -------------------------------------------------------------


def _turned(cases: Cases, judge: Judge) -> Iterator[Finding]:
    """Mirror images where there should be none, and shapes that a change of axes would set upright."""
    usual = mean_rotation(judge.poses.rotations[judge.rows])
    angles = angles_between(judge.poses.rotations, usual)
    usually = float(np.median(angles[judge.rows])) if len(judge.rows) else np.pi
    limit = max(3 * usually, 2 * _TURNED)
    for n in judge.rows.tolist():
        if judge.mirrored[n] and not judge.sides:
            # If shapes have any rotation, it is unknown which axis was mirrored.
            axes = _AXES if usually < _TURNED and cases.schema.dims == 2 else {}
            kind = _best_axes(cases, judge, n, usual, {"mirrored shape": _mirror, **axes})
        elif judge.sides and angles[n] > limit and cases.schema.dims == 2:
            kind = _best_axes(cases, judge, n, usual, {"": lambda points, size: points, **_AXES})
        else:
            continue
        named: tuple[int, ...] = ()
        if kind == "mirrored shape":
            message = "fits the other shapes much better when it is mirrored"
        elif kind:
            message = f"lies in its image like the others when {_CHANGES[kind]}"
        else:
            continue
        if judge.mirrored[n] and not judge.sides:
            for a, b in _exchanges_that_mirror(judge, n, usual):
                message += f", or when {cases.at(n, a)} and {cases.at(n, b)} change places"
                named = (*named, a, b)
        yield cases.finding(n, kind, message, landmarks=named, score=float(angles[n]))


def _exchanges_that_mirror(judge: Judge, n: int, usual: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of landmarks whose exchange makes the shape fit as well as mirroring it does.

    They exist if a shape of few points is nearly symmetric. Of several pairs, only those are returned whose
    exchange also gives the shape the usual rotation.
    """
    present = np.flatnonzero(np.isfinite(judge.points[n]).all(axis=1))
    pairs = list(combinations(present.tolist(), 2)) if len(present) <= _FEW else []
    if not pairs:
        return []
    tried = np.repeat(judge.points[n][None], len(pairs), axis=0)
    for row, (a, b) in enumerate(pairs):
        tried[row, [a, b]] = tried[row, [b, a]]
    poses = align(tried, judge.typical)
    worst = np.nanmax(judge.distances(poses, judge.models[n]), axis=1)
    turned = np.where(worst <= judge.threshold, angles_between(poses.rotations, usual), np.inf)
    return [pairs[row] for row in np.flatnonzero(turned < turned.min() + _TURNED)]


def _mirror(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    return mirror_image(points)


def _from_bottom(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    return points * np.array([1.0, -1.0] + [1.0] * (points.shape[1] - 2))


def _exchanged(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    return points[:, [1, 0, *range(2, points.shape[1])]]


_AXES = {"y from the bottom": _from_bottom, "x and y exchanged": _exchanged}
_CHANGES = {
    "y from the bottom": "y is counted from the top",
    "x and y exchanged": "x and y change places",
}


def _best_axes(cases: Cases, judge: Judge, n: int, usual: np.ndarray, choices: dict) -> str:
    """Return the change of axes that gives the shape the usual rotation; the first one if in doubt."""
    names = list(choices)
    changed = np.stack([choices[name](judge.points[n], cases.sizes[n]) for name in names])
    if judge.sides:
        # Either side is possible: use the one that fits better after every change.
        plain, other = both_sides(changed, judge.typical)
        poses = chosen_side(other.residuals < plain.residuals, plain, other)
    else:
        poses = align(changed, judge.typical)
    angles = angles_between(poses.rotations, usual)
    best = int(np.argmin(angles))
    return names[best] if angles[best] < angles[0] - _TURNED else names[0]


def _positions(cases: Cases, judge: Judge) -> Iterator[Finding]:
    """Shapes with an unusual position, size or rotation in their image."""
    rows, poses, dims = judge.rows, judge.poses, judge.points.shape[2]
    # Undo the mirroring of the centre.
    centers = np.where(judge.flipped[:, None], mirror_image(poses.centers), poses.centers)[rows]
    scales, sizes = poses.scales[rows], cases.upright_sides(cases.sizes)[rows]
    known = np.isfinite(sizes).all(axis=1)
    if known.all() and dims == 3:
        centers = np.stack(
            [upright_fractions(cases, n, place) for n, place in zip(rows.tolist(), centers, strict=True)]
        )
    elif known.all():
        centers, scales = centers / sizes, scales / np.sqrt(sizes.prod(axis=1))
    offset = centers - np.median(centers, axis=0)
    spread = 1.4826 * np.median(np.abs(offset), axis=0)
    spread = np.maximum(spread, 0.02 if known.all() else 0.1 * float(np.median(scales)))
    size = np.abs(np.log(scales) - np.median(np.log(scales)))
    angle = angles_between(poses.rotations[rows], mean_rotation(poses.rotations[rows]))
    measures = {
        "position": (np.sqrt(((offset / spread) ** 2).sum(axis=1)), dims, 0.3),
        "size": (size, 1, 0.03),
        "rotation": (angle, 1, 0.03),
    }
    limit = judge.limits.position * (1 + 8 / max(len(rows), 1))
    for what, (values, degrees, least) in measures.items():
        values = np.maximum(values, least)
        scores = Tails.match(values, degrees, quantile=0.9).rescaled(values)
        for row in np.flatnonzero(scores > limit):
            message = f"the {what} of the whole shape is unusual ({scores[row]:.1f} standard deviations)"
            yield cases.finding(int(rows[row]), "position outlier", message, score=float(scores[row]))
