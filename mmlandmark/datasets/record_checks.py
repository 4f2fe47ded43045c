"""Checks of single records: missing or impossible values, placeholders and spacing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.datasets.volume_checks import upright_spacing

_FAR = 0.05  # of the image side: a point further outside is not just inaccurate
_CLOSER = 0.1  # of the usual gap of two landmarks
_SAME = 0.01  # pixels: two landmarks in one position, however near they usually are
_COARSE = 4.0  # pixels between one rounded fraction and the next
_RARE = 3  # training samples


def nothing_to_learn(cases: Cases) -> Iterator[Finding]:
    """Landmarks that are annotated in no training sample, or in very few."""
    rows = cases.training_rows()
    names = sorted({split for split, chosen in zip(cases.splits, rows, strict=True) if chosen})
    count = np.isfinite(cases.clean[rows]).all(axis=2).sum(axis=0)
    samples, split = int(rows.sum()), "+".join(names)
    if not count.any():
        message = f"none of the {samples} samples of {split!r} has an annotated landmark"
        yield cases.whole(split, "nothing annotated", message)
        return
    for k in np.flatnonzero(count == 0):
        name = f"landmark {k} ({cases.schema.landmarks[k]})"
        message = f"{name} is annotated in none of the {samples} samples of {split!r}"
        yield cases.whole(split, "landmark never annotated", message, landmarks=(int(k),))
    if samples <= 2 * _RARE:
        return
    for k in np.flatnonzero((count > 0) & (count < _RARE)):
        name = f"landmark {k} ({cases.schema.landmarks[k]})"
        message = f"{name} is annotated in {count[k]} of the {samples} samples of {split!r}"
        yield cases.whole(split, "rarely annotated", message, landmarks=(int(k),))


def fractions(cases: Cases) -> Iterator[Finding]:
    """Samples all of whose coordinates lie within 0..1, on images that are larger."""
    points = cases.points
    with np.errstate(invalid="ignore"):
        inside = np.where(np.isnan(points), True, (points >= 0) & (points <= 1)).all(axis=(1, 2))
    seen = np.isfinite(points).all(axis=2).sum(axis=1)
    # A single point may be there by chance, and a row of (0, 0) is a row of placeholders.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # samples without a landmark
        varied = (np.nanmax(points, axis=1) > np.nanmin(points, axis=1)).any(axis=1)
    sizes = np.nanmin(np.where(np.isnan(cases.sizes), np.inf, cases.sizes), axis=1)
    hits = inside & varied & (seen > 1) & (sizes > 4)
    if np.isinf(sizes[hits]).any() and not hits.all():
        hits &= np.isfinite(sizes)  # without image sizes, only a whole file of fractions is certain
    for split in dict.fromkeys(cases.splits):
        members = np.flatnonzero(hits & np.array([s == split for s in cases.splits]))
        total = cases.splits.count(split)
        if len(members) == total and total > 1:
            message = f"the coordinates of all {total} samples lie between 0 and 1"
            yield cases.whole(split, "fractions", message + _coarse(cases, members))
        else:
            for n in members:
                message = "all coordinates lie between 0 and 1" + _coarse(cases, np.array([n]))
                yield cases.finding(int(n), "fractions", message)
    cases.clean[hits] = np.nan


def _coarse(cases: Cases, rows: np.ndarray) -> str:
    """Return a clause for the message if the fractions are rounded too much to be converted to pixels."""
    values = cases.points[rows][np.isfinite(cases.points[rows])]
    digits = next((d for d in range(5) if np.abs(values - values.round(d)).max() < 1e-6), None)
    side = np.nan_to_num(cases.sizes[rows]).max()
    if digits is None or 10.0**-digits * side < _COARSE:
        return ""
    return (
        f", in steps of {10.0**-digits:g}, which are {10.0**-digits * side:.0f} px: annotate again, rounding "
        "has lost the positions"
    )


def placeholders(cases: Cases) -> Iterator[Finding]:
    """Values that are not positions: corners of the image, and one value repeated for a landmark."""
    reasons: dict[tuple[int, int], str] = {}
    points, valid = cases.clean, np.isfinite(cases.clean).all(axis=2)
    for value in (0.0, -1.0):
        with np.errstate(invalid="ignore"):
            hit = valid & (points == value).all(axis=2)
        reasons.update({(int(n), int(k)): "a corner of the image" for n, k in np.argwhere(hit)})
    for n, k in _far_corners(cases, valid):
        reasons.setdefault((n, k), "a corner of the image")
    _, first = np.unique(np.nan_to_num(points).reshape(len(points), -1), axis=0, return_index=True)
    unique = np.isin(np.arange(len(points)), first)  # a duplicated sample repeats all of its values
    for n, k, count in _repeated(points, valid & unique[:, None]):
        reasons.setdefault((n, k), f"exactly the same value as in {count} samples")
    for (n, k), reason in sorted(reasons.items()):
        message = f"{cases.at(n, k)} is {reason}: it seems to be a placeholder for a missing landmark"
        yield cases.finding(n, "placeholder", message, landmarks=(k,))
    for n, k in reasons:
        cases.clean[n, k] = np.nan


def _far_corners(cases: Cases, valid: np.ndarray) -> Iterator[tuple[int, int]]:
    """Points exactly at another corner of the image, which tools that clip to the image write."""
    points, last = cases.clean, cases.sizes[:, None] - 1
    with np.errstate(invalid="ignore"):
        low = (points == 0) | (points == -1)
        high = (points == last) | (points == last + 1)
    for n, k in np.argwhere(valid & (low | high).all(axis=2)):
        yield int(n), int(k)


def _repeated(points: np.ndarray, valid: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (record, landmark, count) of values that a landmark takes too often to be chance.

    Annotations in whole pixels coincide by chance. How often depends on how much the landmark varies: of N
    records spread over an area, N / area are in the same pixel on average.
    """
    wander = np.full(points.shape[1:], np.nan)
    for k in np.flatnonzero(valid.sum(axis=0) >= 3):
        seen = points[valid[:, k], k]
        wander[k] = 1.4826 * np.median(np.abs(seen - np.median(seen, axis=0)), axis=0)
    if np.isnan(wander).all():
        return
    usual = np.nanmedian(wander)
    for k in np.flatnonzero(np.isfinite(wander).all(axis=1)):
        rows = np.flatnonzero(valid[:, k])
        values, members, counts = np.unique(points[rows, k], axis=0, return_inverse=True, return_counts=True)
        step = 1.0 if np.array_equal(np.round(values), values) else 0.1
        spread = np.maximum(np.maximum(wander[k], 0.1 * usual), step)
        expected = len(rows) * float(np.prod(step / (spread * np.sqrt(2 * np.pi))))
        # The chance of a count far above a small expectation falls as fast as expected ** count.
        limit = 3
        while limit <= len(rows) and (expected >= 1 or len(rows) * expected ** (limit - 1) > 1e-3):
            limit += 1
        for which in np.flatnonzero(counts >= limit):
            for n in rows[members.ravel() == which]:
                yield int(n), int(k), int(counts[which])


def points_outside(cases: Cases) -> Iterator[Finding]:
    """Points outside of the pixels of their image, which covers [-0.5, side - 0.5]."""
    sizes = cases.sizes[:, None]
    with np.errstate(invalid="ignore"):
        outside = ((cases.clean < -0.5) | (cases.clean > sizes - 0.5)).any(axis=2)
        far = ((cases.clean < -_FAR * sizes) | (cases.clean > (1 + _FAR) * sizes)).any(axis=2)
    for n, k in np.argwhere(outside):
        known = np.isfinite(cases.sizes[n]).all()
        size = [int(s) for s in cases.sizes[n]] if known else "unknown"
        beyond = np.nan_to_num(np.maximum(-cases.clean[n, k], cases.clean[n, k] - cases.sizes[n])).max()
        yield cases.finding(
            int(n),
            "far outside" if far[n, k] else "point outside",
            f"{cases.at(n, k)} lies outside the image of size {size}",
            landmarks=(int(k),),
            score=float(beyond),
        )


def points_too_close(cases: Cases, close: float) -> Iterator[Finding]:
    """Two landmarks nearer than ``close`` pixels (in volumes, finest voxels) that usually are not."""
    count = cases.clean.shape[1]
    first, second = np.triu_indices(count, 1)
    points = cases.comparable()
    if cases.schema.dims == 3:
        points = points / np.linalg.norm(cases.to_mm[:, :3, :3], axis=1).min(axis=1)[:, None, None]

    def gaps(part: np.ndarray) -> np.ndarray:
        return np.sqrt(sum((part[:, first, d] - part[:, second, d]) ** 2 for d in range(part.shape[2])))

    some = points[:: max(1, len(cases) // 256)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pairs that are annotated nowhere
        usual = np.nanmedian(gaps(some), axis=0)
    limit = np.fmin(close, _CLOSER * usual)
    for start in range(0, len(cases), 256):
        gap = gaps(points[start : start + 256])
        with np.errstate(invalid="ignore"):
            hits = np.argwhere((gap < limit) | (gap < _SAME))
        for row, pair in hits:
            n, a, b = start + int(row), int(first[pair]), int(second[pair])
            message = f"{cases.at(n, a)} and {cases.at(n, b)} are {gap[row, pair]:.2f} px apart"
            yield cases.finding(n, "points too close", message, landmarks=(a, b), score=-gap[row, pair])


def spacing_faults(cases: Cases, factor: float) -> Iterable[Finding]:
    """Spacing that is missing in some records, or differs from the median by more than ``factor``."""
    spacings = cases.spacing if cases.schema.dims == 2 else upright_spacing(cases)
    known = np.isfinite(spacings.sum(axis=1))
    if not known.any():
        return
    median = np.median(spacings[known], axis=0)
    for n, spacing in enumerate(spacings):
        if not known[n]:
            yield cases.finding(n, "spacing", "has no spacing, but other records have one")
            continue
        ratio = float(np.maximum(spacing / median, median / spacing).max())
        if ratio > factor:
            message = (
                f"spacing {spacing.round(6).tolist()} mm, but the median is {median.round(6).tolist()} mm"
            )
            yield cases.finding(n, "spacing", message, score=ratio)
