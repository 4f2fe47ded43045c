"""Checks of the arrangement of landmarks: left and right, order, and the direction of y."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, permutations

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.datasets.phantom import SCHEMAS, sample_scene

_FAR = 6.0  # robust standard deviations
_ABOVE_BELOW = (("upper", "lower"), ("top", "bottom"), ("superior", "inferior"), ("cranial", "caudal"))
_GAP = 0.05  # of the height of the shape: closer landmarks may naturally be the other way round
_PHANTOMS = 12
_PATIENT_AXES = ("x, from right to left", "y, from front to back", "z, from feet to head")


def swapped_pairs(cases: Cases, agreement: float, min_records: int) -> Iterator[Finding]:
    """Pairs of left and right landmarks that are the other way round than in most other records."""
    points = cases.comparable()
    for a, b in cases.schema.flip_pairs:
        for n in _against_the_rest(points, a, b, 0, agreement, min_records):
            message = f"{cases.at(n, a)} and {cases.at(n, b)} are swapped"
            yield cases.finding(n, "left-right swap", message, landmarks=(a, b))


def order_breaks(cases: Cases, chain: float, single: float, min_records: int) -> Iterator[Finding]:
    """Steps from a landmark to the next that go the wrong way along an axis.

    Left, right and unpaired landmarks each form a row, in the order of the schema. A row that goes one way
    throughout (vertebrae from top to bottom) is a chain, and any step back breaks it. Outside of chains, a
    step is reported only if nearly all records agree on it and this one is far from usual.

    Args:
        cases: The records.
        chain: Fraction of the records that must agree in every step of a chain.
        single: The same for a step outside of chains.
        min_records: With fewer records, no order is learned.
    """
    points, pairs = cases.comparable(), cases.schema.flip_pairs
    paired = {i for pair in pairs for i in pair}
    rows = [
        [p[0] for p in pairs],
        [p[1] for p in pairs],
        [i for i in range(len(cases.schema)) if i not in paired],
    ]
    for row in rows:
        steps = list(pairwise(row))
        for axis in range(cases.schema.dims):
            ways = {_common_way(points, a, b, axis, chain) for a, b in steps}
            is_chain = len(ways) == 1 and 0 not in ways and len(steps) > 1
            for a, b in steps:
                broken = _against_the_rest(points, a, b, axis, chain if is_chain else single, min_records)
                along = "xyz"[axis] if cases.schema.dims == 2 else _PATIENT_AXES[axis]
                for n in broken if is_chain else _far_from_the_rest(points, a, b, axis, broken):
                    way = f"{cases.at(n, a)} to {cases.at(n, b)} goes the wrong way along {along}"
                    yield cases.finding(n, "order break", way, landmarks=(a, b))


def _common_way(points: np.ndarray, a: int, b: int, axis: int, agreement: float) -> int:
    """Return 1 or -1, the way most records go from landmark a to b along an axis, or 0 if they differ."""
    step = points[:, b, axis] - points[:, a, axis]
    step = step[np.isfinite(step)]
    if len(step) == 0:
        return 0
    for way in (1, -1):
        # A step of zero breaks no order.
        if (step * way >= 0).mean() >= agreement and (step * way > 0).mean() > 0.5:
            return way
    return 0


def _against_the_rest(
    points: np.ndarray, a: int, b: int, axis: int, agreement: float, min_records: int
) -> list[int]:
    if len(points) < min_records:
        return []
    way = _common_way(points, a, b, axis, agreement)
    step = points[:, b, axis] - points[:, a, axis]
    with np.errstate(invalid="ignore"):
        return [int(n) for n in np.flatnonzero(step * way < 0)]


def _far_from_the_rest(points: np.ndarray, a: int, b: int, axis: int, rows: list[int]) -> list[int]:
    """Return those of ``rows`` whose step is far from the usual one: small steps may naturally reverse."""
    if not rows:
        return []
    step = points[:, b, axis] - points[:, a, axis]
    middle = np.nanmedian(step)
    spread = 1.4826 * np.nanmedian(np.abs(step - middle))
    return [n for n in rows if abs(step[n] - middle) > _FAR * spread]


# ---- the direction of y -----------------------------------------------------------------------------


def y_from_the_bottom(cases: Cases, min_records: int) -> Iterator[Finding]:
    """Splits whose landmarks are upside down, by their names or by the usual layout of their schema.

    Volumes are skipped: their y goes to the back.
    """
    if cases.schema.dims != 2:
        return
    for split in dict.fromkeys(cases.splits):
        rows = np.array([s == split for s in cases.splits])
        points = cases.comparable()[rows & np.isfinite(cases.clean).any(axis=(1, 2))]
        if len(points) < min_records:
            continue
        reason = _upside_down_by_name(cases, points) or _upside_down_by_schema(cases, points)
        if reason:
            yield cases.whole(split, "y from the bottom", reason)


def _upside_down_by_name(cases: Cases, points: np.ndarray) -> str:
    """Return the reason why names like "upper lip" and "lower lip" imply that y points up, or ""."""
    names = [name.lower() for name in cases.schema.landmarks]
    height = np.nanmedian(np.nanmax(points[..., 1], axis=1) - np.nanmin(points[..., 1], axis=1))
    reversed_pairs, all_pairs = [], 0
    for a, b in permutations(range(len(names)), 2):
        if not any(up in names[a] and names[a].replace(up, down) == names[b] for up, down in _ABOVE_BELOW):
            continue
        step = points[:, b, 1] - points[:, a, 1]
        step = step[np.isfinite(step)]
        if len(step) and abs(np.median(step)) > _GAP * height:
            all_pairs += 1
            if np.median(step) < 0:
                reversed_pairs.append((a, b))
    if 2 * len(reversed_pairs) <= all_pairs:
        return ""
    upper, lower = (cases.schema.landmarks[i] for i in reversed_pairs[0])
    return f"{upper!r} lies below {lower!r} in most of {len(points)} samples"


def _upside_down_by_schema(cases: Cases, points: np.ndarray) -> str:
    """Return a reason if landmarks are upside down compared with the phantoms of their schema, or ""."""
    kind = next((kind for kind, name in SCHEMAS.items() if name == cases.schema.name), None)
    if kind is None:
        return ""
    usual = np.median([sample_scene(kind, 0, index).landmarks for index in range(_PHANTOMS)], axis=0)
    median = np.nanmedian(points, axis=0)
    seen = np.isfinite(median).all(axis=1)
    if seen.sum() < 4:
        return ""
    along = [float(np.corrcoef(median[seen, axis], usual[seen, axis])[0, 1]) for axis in (0, 1)]
    # If x is reversed as well, the images are upside down, and so are the points.
    if along[1] > -0.5 or along[0] < -0.5:
        return ""
    return (
        f"most of {len(points)} samples are upside down compared with the usual layout of "
        f"{cases.schema.name!r}"
    )
