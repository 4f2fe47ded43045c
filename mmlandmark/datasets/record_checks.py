"""Checks of single records: missing or impossible values, placeholders and spacing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Set

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.datasets.volume_checks import stored_spacing, upright_spacing
from mmlandmark.structures import grid_unit

_FAR = 0.05  # of the image side: a point further outside is not just inaccurate
_CLOSER = 0.1  # of the usual gap of two landmarks
_SAME = 0.01  # pixels: two landmarks in one position, however near they usually are
_COARSE = 4.0  # pixels between one rounded fraction and the next
_RARE = 3  # training samples
# mm along the longest side of an image: an insect under a scanner, and a patient with the table.
_SMALLEST, _LARGEST = 1.0, 3000.0
_UNITS = {3: "micrometres", -1: "cm", -3: "metres"}  # by the power of ten of their number to that in mm
_OFF_A_POWER = 0.2  # powers of ten: images of one kind differ by less in spacing
_OTHER_SIZE = 4.0  # times: a child is not that much smaller than an adult
_CHECK_UNITS = "check the unit of its points, of its spacing (mm), and that it shows the same anatomy"


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
    unit = grid_unit(cases.schema.dims)
    return (
        f", in steps of {10.0**-digits:g}, which are {10.0**-digits * side:.0f} {unit}: annotate again, "
        "rounding has lost the positions"
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
            apart = f"{gap[row, pair]:.2f} {grid_unit(cases.schema.dims)} apart"
            message = f"{cases.at(n, a)} and {cases.at(n, b)} are {apart}"
            yield cases.finding(n, "points too close", message, landmarks=(a, b), score=-gap[row, pair])


def spacing_faults(cases: Cases, factor: float) -> Iterator[Finding]:
    """Spacing that no image of a patient has, is missing in some records, or differs from the others.

    Args:
        cases: The records.
        factor: By which a spacing may differ from the median; of two records, from the other one.
    """
    impossible = list(_impossible_sizes(cases))
    yield from (finding for _, finding in impossible)
    spacings = cases.spacing if cases.schema.dims == 2 else upright_spacing(cases)
    known = np.isfinite(spacings.sum(axis=1))
    if not known.any():
        return
    for n in np.flatnonzero(~known):
        yield cases.finding(int(n), "spacing", "has no spacing, but other records have one")
    possible = known.copy()
    possible[[n for rows, _ in impossible for n in rows]] = False
    logs = against_the_others(np.log(spacings[possible]))
    for n, log in zip(np.flatnonzero(possible).tolist(), logs, strict=True):
        ratio = float(np.exp(np.abs(log).max()))
        if ratio > factor:
            usual = np.exp(np.log(spacings[n]) - log).round(6).tolist()
            message = f"spacing {spacings[n].round(6).tolist()} mm, but {_those(len(logs))} {usual} mm"
            yield cases.finding(n, "spacing", message + _unit_of(log), score=ratio)


def _those(count: int) -> str:
    return "the other sample has" if count == 2 else "the median is"


def against_the_others(logs: np.ndarray) -> np.ndarray:
    """Return (N, M) logarithms minus their median; of two records, minus those of the other one."""
    if len(logs) == 2:
        return logs - logs[::-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without any value
        return logs - np.nanmedian(logs, axis=0)


def _unit_of(log: np.ndarray) -> str:
    """Return which unit a spacing seems to have, from its (D,) logarithms against the usual one."""
    powers = log / np.log(10)
    power = round(float(powers.mean()))
    if power not in _UNITS or np.abs(powers - power).max() > _OFF_A_POWER:
        return ""
    return f": {_UNITS[power]} in place of mm?"


def _impossible_sizes(cases: Cases) -> Iterator[tuple[list[int], Finding]]:
    """Yield records whose images are far smaller or larger than any of a patient, and the finding."""
    spacing = cases.spacing if cases.schema.dims == 2 else stored_spacing(cases)
    sides = (spacing * cases.sizes).max(axis=1)  # mm; NaN if unknown
    with np.errstate(invalid="ignore"):
        wrong = (sides < _SMALLEST) | (sides > _LARGEST)
    for split in dict.fromkeys(cases.splits):
        members = np.array([s == split for s in cases.splits]) & np.isfinite(sides)
        rows = np.flatnonzero(members & wrong).tolist()
        if len(rows) == members.sum() > 1:
            usual = _of_no_patient(float(np.median(sides[rows])))
            message = f"all {len(rows)} images: the longest side{usual}"
            yield rows, cases.whole(split, "spacing", message)
            continue
        for n in rows:
            message = f"spacing {spacing[n].round(6).tolist()} mm: its longest side{_of_no_patient(sides[n])}"
            yield [n], cases.finding(n, "spacing", message, score=float(abs(np.log(sides[n]))))


def _of_no_patient(side: float) -> str:
    """Return what is wrong with a length in mm."""
    if side > _LARGEST:
        return f" is {side / 1000:.3g} m, longer than a patient: {_UNITS[3]} in place of mm?"
    return f" is {side:.3g} mm: {_UNITS[-3]} or {_UNITS[-1]} in place of mm?"


def shape_sizes(cases: Cases, min_records: int, explained: Set[tuple[str, str]]) -> Iterator[Finding]:
    """Shapes of another size than the others, where there are too few records to learn a rule from.

    Args:
        cases: The records.
        min_records: From so many on, the size is judged with position and rotation.
        explained: Split and id of records whose spacing is wrong, so that they are no measure.
    """
    points = cases.clean if cases.schema.dims == 2 else cases.comparable()
    if cases.schema.dims == 2 and np.isfinite(cases.spacing).all():
        points = points * cases.spacing[:, None]
    enough = np.isfinite(points).all(axis=2).sum(axis=1) > cases.schema.dims
    good = [(r["dataset_split"], r["sample_id"]) not in explained for r in cases.records]
    rows = np.flatnonzero(enough & np.array(good))
    if not 2 <= len(rows) < min_records:
        return
    first, second = np.triu_indices(points.shape[1], 1)
    gaps = np.linalg.norm(points[rows][:, first] - points[rows][:, second], axis=2)
    with np.errstate(divide="ignore"):
        logs = against_the_others(np.where(gaps > 0, np.log(gaps), np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a record with no pair in common with the others
        ratios = np.exp(np.nanmedian(logs, axis=1))
    for n, ratio in zip(rows.tolist(), ratios.tolist(), strict=True):
        if max(ratio, 1 / ratio) > _OTHER_SIZE:
            message = f"its landmarks lie {ratio:.2g} times as far apart as those of the others"
            yield cases.finding(
                n, "position outlier", message, advice=_CHECK_UNITS, score=abs(float(np.log(ratio)))
            )
