"""Looking for faults in annotations: what a dataset's own records can tell about each other."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.shape_checks import mirrored_shapes, shape_residuals


@dataclass(frozen=True)
class Thresholds:
    """When something counts as a fault.

    Attributes:
        close: Two points of an image nearer than this, in pixels, are one too many.
        chain: Landmarks in a row whose every step goes the same way along an axis in at least this
            fraction of the records form a chain, like vertebrae from top to bottom; a left-right pair has
            an order if at least this fraction agrees.
        order: A single step outside of chains has an order if at least this fraction agrees.
        shape: A shape is an outlier if its distance from the typical shape lies this many robust standard
            deviations above the median.
        landmark: A landmark is an outlier if it lies this many times its median distance from where the
            typical shape has it.
        spacing: A spacing is an outlier if it differs from the median by more than this factor.
        min_records: With fewer records nothing is learned from them.
    """

    close: float = 2.0
    chain: float = 0.9
    order: float = 0.98
    shape: float = 6.0
    landmark: float = 8.0
    spacing: float = 3.0
    min_records: int = 10


def check_dataset(
    datasets: Mapping[str, LandmarkDataset], thresholds: Thresholds | None = None
) -> dict[str, Any]:
    """Check the records of one or several splits together.

    Args:
        datasets: Datasets by the name of their split, e.g. ``dict(train=..., test=...)``.
        thresholds: When something counts as a fault.

    Returns:
        A report of plain types: ``splits`` (counts and ranges), ``landmarks`` (ranges of every landmark),
        ``findings``, and ``summary`` (number of samples by check). :func:`check_report.to_markdown`
        writes it out.

    Raises:
        ValueError: There is no dataset, or the splits' landmarks differ.
    """
    if not datasets:
        raise ValueError("there is no dataset to check")
    limits = thresholds or Thresholds()
    cases = Cases(datasets)
    findings = list(cases.problems)
    for check in CHECKS:
        findings += check(cases, limits)
    affected: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for finding in findings:
        affected[finding.check].add((finding.split, finding.sample_id))
    return dict(
        schema=cases.schema.name,
        thresholds=asdict(limits),
        splits={name: _describe_split(cases, name) for name in datasets},
        landmarks=[_describe_landmark(cases, k) for k in range(len(cases.schema))],
        summary={check: len(samples) for check, samples in affected.items()},
        findings=[dict(asdict(f), landmarks=list(f.landmarks)) for f in findings],
    )


def points_outside(cases: Cases, limits: Thresholds) -> Iterable[Finding]:
    """Points outside of the pixels of their image, which covers [-0.5, side - 0.5]."""
    outside = (cases.points < -0.5) | (cases.points > cases.sizes[:, None] - 0.5)
    for n, k in np.argwhere(outside.any(axis=2)):
        size = [int(s) for s in cases.sizes[n]] if np.isfinite(cases.sizes[n]).all() else "unknown"
        yield cases.finding(
            n,
            "point outside",
            f"{_at(cases, n, k)} lies outside the image of size {size}",
            landmarks=(int(k),),
        )


def points_too_close(cases: Cases, limits: Thresholds) -> Iterable[Finding]:
    """Two landmarks in one place."""
    for n, points in enumerate(cases.points):
        gap = np.linalg.norm(points[:, None] - points[None], axis=-1)
        for a, b in np.argwhere(np.triu(gap < limits.close, 1)):
            message = f"{_at(cases, n, a)} and {_at(cases, n, b)} are {gap[a, b]:.2f} px apart"
            yield cases.finding(n, "points too close", message, landmarks=(int(a), int(b)))


def swapped_pairs(cases: Cases, limits: Thresholds) -> Iterable[Finding]:
    """Pairs of left and right landmarks that stand the other way round than in most other records."""
    for a, b in cases.schema.flip_pairs:
        for n in _against_the_rest(cases, a, b, axis=0, agreement=limits.chain, limits=limits):
            yield cases.finding(
                n,
                "left-right swap",
                f"{_at(cases, n, a)} and {_at(cases, n, b)} are swapped",
                landmarks=(a, b),
            )


def order_breaks(cases: Cases, limits: Thresholds) -> Iterable[Finding]:
    """Steps from a landmark to the next that go the wrong way along an axis.

    Left, right and unpaired landmarks each form a row, in the order of the schema. A row that runs one way
    all along (vertebrae from top to bottom) is a chain, and any step back breaks it. Elsewhere a step
    must be nearly always the same to count.
    """
    pairs = cases.schema.flip_pairs
    paired = {i for pair in pairs for i in pair}
    rows = [
        [p[0] for p in pairs],
        [p[1] for p in pairs],
        [i for i in range(len(cases.schema)) if i not in paired],
    ]
    for row in rows:
        steps = list(pairwise(row))
        for axis in range(cases.schema.dims):
            ways = {_common_way(cases, a, b, axis, limits.chain) for a, b in steps}
            agreement = limits.chain if len(ways) == 1 and 0 not in ways and len(steps) > 1 else limits.order
            for a, b in steps:
                for n in _against_the_rest(cases, a, b, axis, agreement, limits):
                    message = (
                        f"{_at(cases, n, a)} to {_at(cases, n, b)} goes the wrong way along {'xyz'[axis]}"
                    )
                    yield cases.finding(n, "order break", message, landmarks=(a, b))


def _common_way(cases: Cases, a: int, b: int, axis: int, agreement: float) -> int:
    """Return 1 or -1, the way most records go from landmark a to b along an axis, or 0 if they differ."""
    step = cases.points[:, b, axis] - cases.points[:, a, axis]
    step = step[np.isfinite(step)]
    if len(step) == 0:
        return 0
    for way in (1, -1):
        # A step of zero breaks no order.
        if (step * way >= 0).mean() >= agreement and (step * way > 0).mean() > 0.5:
            return way
    return 0


def _against_the_rest(
    cases: Cases, a: int, b: int, axis: int, agreement: float, limits: Thresholds
) -> Iterable[int]:
    if len(cases) < limits.min_records:
        return []
    way = _common_way(cases, a, b, axis, agreement)
    step = cases.points[:, b, axis] - cases.points[:, a, axis]
    return [int(n) for n in np.flatnonzero(step * way < 0)]


def shape_outliers(cases: Cases, limits: Thresholds) -> Iterable[Finding]:
    """Shapes, single landmarks and mirror images that do not fit the typical shape."""
    residuals = shape_residuals(cases.points, limits.min_records)
    if residuals is None:
        return
    for n in mirrored_shapes(cases.points, residuals):
        yield cases.finding(n, "mirrored shape", "fits the typical shape much better when it is mirrored")
    seen = np.isfinite(residuals)
    with np.errstate(invalid="ignore"):  # records without landmarks become NaN, and compare as False
        rms = np.sqrt(np.where(seen, residuals**2, 0).sum(axis=1) / seen.sum(axis=1))
    median = np.nanmedian(rms)
    deviation = 1.4826 * np.nanmedian(np.abs(rms - median))
    far = rms > median + limits.shape * deviation
    for n in np.flatnonzero(far):
        k = int(np.nanargmax(residuals[n]))
        score = (rms[n] - median) / deviation if deviation > 0 else float("inf")
        message = f"unlike the typical shape ({score:.1f} robust deviations); farthest is {_at(cases, n, k)}"
        yield cases.finding(int(n), "shape outlier", message, landmarks=(k,))
    typical = np.nanmedian(residuals, axis=0)
    # In a shape that fits nowhere, single landmarks say nothing.
    for n, k in np.argwhere((residuals > limits.landmark * typical) & ~far[:, None]):
        times = residuals[n, k] / typical[k] if typical[k] > 0 else float("inf")
        message = f"{_at(cases, n, k)} is {times:.1f} times as far from its typical place as usual"
        yield cases.finding(int(n), "landmark outlier", message, landmarks=(int(k),))


def spacing_faults(cases: Cases, limits: Thresholds) -> Iterable[Finding]:
    """Spacing that only some records have, or that differs strongly from the others'."""
    known = np.isfinite(cases.spacing).all(axis=1)
    if not known.any():
        return
    median = np.median(cases.spacing[known], axis=0)
    for n, spacing in enumerate(cases.spacing):
        if not known[n]:
            yield cases.finding(n, "spacing", "has no spacing, while other records have")
        elif (np.maximum(spacing / median, median / spacing) > limits.spacing).any():
            yield cases.finding(
                n, "spacing", f"spacing {spacing.tolist()} mm, but the median is {median.tolist()} mm"
            )


def duplicates(cases: Cases, limits: Thresholds) -> Iterable[Finding]:
    """Records with the same image file, the same image content or the very same landmarks."""
    by_points: dict[bytes, list[int]] = defaultdict(list)
    for n, points in enumerate(cases.points):
        if np.isfinite(points).any():
            by_points[np.round(points, 2).tobytes()].append(n)
    for check, groups in (("same landmarks", by_points), ("same image", _same_images(cases))):
        for members in groups.values():
            for n in members[1:]:
                message = f"the same as sample {cases.records[members[0]]['sample_id']!r}"
                yield cases.finding(n, check, message)


def _same_images(cases: Cases) -> dict[Any, list[int]]:
    by_length: dict[int, list[int]] = defaultdict(list)
    for n, record in enumerate(cases.records):
        if record["img_path"] is not None and "slice" not in record and os.path.isfile(record["img_path"]):
            by_length[os.path.getsize(record["img_path"])].append(n)
    by_content: dict[Any, list[int]] = defaultdict(list)
    for members in by_length.values():
        if len(members) > 1:  # only files of equal length can be equal, and few are
            for n in members:
                by_content[_content(cases.records[n]["img_path"])].append(n)
    return by_content


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read(), digest_size=16).digest()


def leaks(cases: Cases, limits: Thresholds) -> Iterable[Finding]:
    """Samples, groups (patients) and images that stand in several splits."""
    kinds: dict[str, dict[Any, list[int]]] = {"sample": defaultdict(list), "group": defaultdict(list)}
    for n, record in enumerate(cases.records):
        kinds["sample"][record["sample_id"]].append(n)
        if record["group"] is not None:
            kinds["group"][record["group"]].append(n)
    kinds["image"] = _same_images(cases)
    for kind, groups in kinds.items():
        for key, members in groups.items():
            splits = sorted({cases.records[n]["dataset_split"] for n in members})
            if len(splits) > 1:
                what = f"{kind} {key!r}" if kind != "image" else "the same image"
                for n in members:
                    yield cases.finding(n, f"{kind} leak", f"{what} is in splits {splits}", level="error")


CHECKS = (
    points_outside,
    points_too_close,
    swapped_pairs,
    order_breaks,
    shape_outliers,
    spacing_faults,
    duplicates,
    leaks,
)


def _at(cases: Cases, n: int, k: int) -> str:
    place = ", ".join(f"{c:.1f}" for c in cases.points[n, k])
    return f"landmark {k} ({cases.schema.landmarks[k]}) at ({place})"


def _range(values: np.ndarray) -> list[float] | None:
    values = values[np.isfinite(values)]
    return [round(float(values.min()), 4), round(float(values.max()), 4)] if len(values) else None


def _describe_split(cases: Cases, name: str) -> dict[str, Any]:
    chosen = [n for n, r in enumerate(cases.records) if r["dataset_split"] == name]
    missing = np.isnan(cases.points[chosen]).any(axis=2)
    groups = {cases.records[n]["group"] for n in chosen} - {None}
    return dict(
        samples=len(chosen),
        groups=len(groups),
        missing_landmarks=int(missing.sum()),
        samples_without_landmarks=int(missing.all(axis=1).sum()),
        image_size={a: _range(cases.sizes[chosen, i]) for i, a in enumerate("xyz"[: cases.schema.dims])},
        coordinates={a: _range(cases.points[chosen, :, i]) for i, a in enumerate("xyz"[: cases.schema.dims])},
        spacing={a: _range(cases.spacing[chosen, i]) for i, a in enumerate("xyz"[: cases.schema.dims])},
        without_spacing=int(np.isnan(cases.spacing[chosen]).any(axis=1).sum()),
    )


def _describe_landmark(cases: Cases, k: int) -> dict[str, Any]:
    points = cases.points[:, k]
    return dict(
        name=cases.schema.landmarks[k],
        annotated=int(np.isfinite(points).all(axis=1).sum()),
        **{a: _range(points[:, i]) for i, a in enumerate("xyz"[: cases.schema.dims])},
    )
