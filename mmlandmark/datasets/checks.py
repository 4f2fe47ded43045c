"""Finds faults in annotations by comparing the records of a dataset with each other."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmlandmark.datasets import (
    layout_checks,
    leak_checks,
    record_checks,
    shape_checks,
    volume_checks,
)
from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.datasets.check_kinds import KINDS, SEVERITIES
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.readers.loaded_image import LoadedImage


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the checks.

    Attributes:
        close: Two points of an image are too close if they are nearer than this, in pixels.
        chain: Successive landmarks form a chain, like vertebrae from top to bottom, if every step goes the
            same way along an axis in at least this fraction of the records; a left-right pair has an order
            if at least this fraction agrees.
        order: A single step outside of chains has an order if at least this fraction agrees.
        shape: A shape is an outlier if the logarithm of its distance from the usual shape is this many robust
            standard deviations above the median.
        landmark: A landmark is an outlier if it is this many standard deviations from where the other
            landmarks of its shape predict it. Distances are first transformed to the tails of a normal
            distribution, and the threshold is higher if there are few records.
        position: The same for position, size and rotation of a whole shape in its image.
        spacing: A spacing is an outlier if it differs from the median, or from that of the only other record,
            by more than this factor.
        min_records: With fewer records, no rules are learned from them. Only shapes of quite another size
            are found.
    """

    close: float = 2.0
    chain: float = 0.9
    order: float = 0.98
    shape: float = 5.0
    landmark: float = 5.5
    position: float = 5.5
    spacing: float = 3.0
    min_records: int = 10


def check_dataset(
    datasets: Mapping[str, LandmarkDataset],
    thresholds: Thresholds | None = None,
    *,
    images: bool = False,
    budget: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    see: Callable[[str, int, LoadedImage, Sequence[Finding]], None] | None = None,
) -> dict[str, Any]:
    """Check the records of one or several splits together.

    Without ``images`` no pixel is decoded: only the headers of image files are read, for their size, and
    files are compared by their bytes. This takes seconds for thousands of records, so that a run can do it
    before it starts.

    Args:
        datasets: Datasets by the name of their split, e.g. ``dict(train=..., test=...)``.
        thresholds: Thresholds of the checks.
        images: Decode images, to find copies in other formats, points that do not fit their image, and odd
            pixels in a few of them (:func:`~mmlandmark.datasets.pixel_checks.pixel_findings`).
        budget: Seconds after which no further file is opened; None sets no limit. The report lists what was
            skipped.
        progress: Called with the number of images read and the total number.
        see: Called with every volume that is decoded for ``images``: its split and index, the volume, and the
            findings about records. No volume has to be decoded again to draw it.

    Returns:
        A report of plain types: ``splits`` (counts and ranges), ``landmarks`` (ranges of every landmark),
        ``findings`` (worst first; their fields are those of :class:`~check_cases.Finding`), ``summary``
        (number of samples by check), ``severities`` (number of findings by severity) and ``left_out``
        (what was skipped). :func:`check_report.to_markdown` formats it.

    Raises:
        ValueError: There is no dataset, or the splits have different landmarks.
    """
    if not datasets:
        raise ValueError("there is no dataset to check")
    limits = thresholds or Thresholds()
    deadline = None if budget is None else time.monotonic() + budget
    cases = Cases(datasets, images, deadline)
    findings = list(_findings(cases, limits))
    if images:
        findings = sorted(findings, key=_order)
        findings += _image_findings(cases, tuple(findings), progress, see)
    findings = sorted(_without_repetition(findings), key=_order)
    affected: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for finding in findings:
        affected[finding.check].add((finding.split, finding.sample_id))
    return dict(
        schema=cases.schema.name,
        thresholds=asdict(limits),
        splits={name: _describe_split(cases, name) for name in datasets},
        landmarks=[_describe_landmark(cases, k) for k in range(len(cases.schema))],
        summary={check: len(samples) for check, samples in affected.items()},
        severities={s: sum(f.severity == s for f in findings) for s in SEVERITIES},
        left_out=cases.left_out,
        findings=[dict(asdict(f), landmarks=list(f.landmarks)) for f in findings],
    )


def _findings(cases: Cases, limits: Thresholds) -> Iterator[Finding]:
    """Yield the findings of every check. The first ones remove values that are not positions."""
    yield from cases.problems
    yield from record_checks.placeholders(cases)
    if cases.schema.dims == 3:
        yield from volume_checks.world_origins(cases)
        yield from volume_checks.wrong_sides(cases, limits.min_records)
        yield from volume_checks.mixed_orientations(cases)
        yield from volume_checks.unstated_orientations(cases)
        yield from volume_checks.contradicted_spacing(cases)
    yield from record_checks.nothing_to_learn(cases)
    yield from record_checks.fractions(cases)
    yield from record_checks.points_outside(cases)
    yield from record_checks.points_too_close(cases, limits.close)
    yield from layout_checks.swapped_pairs(cases, limits.chain, limits.min_records)
    yield from layout_checks.order_breaks(cases, limits.chain, limits.order, limits.min_records)
    shape_limits = shape_checks.Limits(limits.shape, limits.landmark, limits.position, limits.min_records)
    yield from shape_checks.shape_faults(cases, shape_limits)
    yield from layout_checks.y_from_the_bottom(cases, limits.min_records)
    yield from _faults_of_size(cases, limits)
    yield from leak_checks.duplicates(cases)
    yield from leak_checks.leaks(cases)


def _faults_of_size(cases: Cases, limits: Thresholds) -> Iterator[Finding]:
    """Yield the findings about spacing, and the shapes of another size that it does not explain."""
    of_spacing = list(record_checks.spacing_faults(cases, limits.spacing))
    yield from of_spacing
    explained = {(finding.split, finding.sample_id) for finding in of_spacing}
    yield from record_checks.shape_sizes(cases, limits.min_records, explained)


def _image_findings(
    cases: Cases,
    found: Sequence[Finding],
    progress: Callable[[int, int], None] | None,
    see: Callable[[str, int, LoadedImage, Sequence[Finding]], None] | None,
) -> Iterator[Finding]:
    # Imported here: checking records alone, before a run, does not need it.
    from mmlandmark.datasets import image_checks, pixel_checks, volume_images

    if cases.schema.dims == 3:
        volumes = volume_images.Volumes(cases, found, progress, see)
        yield from volumes.problems
        yield from image_checks.copies(cases, volumes.small)
        yield from volume_images.points_in_volumes(cases, volumes)
    else:
        pictures = image_checks.Pictures(cases, progress)
        yield from pictures.problems
        yield from image_checks.copies(cases, pictures.small)
        yield from image_checks.points_on_images(cases, pictures)
        for split, dataset in cases.datasets.items():
            yield from pixel_checks.pixel_findings(dataset, split=split)


def _without_repetition(findings: list[Finding]) -> Iterator[Finding]:
    """Yield the findings without repetitions for the same sample and landmarks."""
    pairs = {(f.split, f.sample_id, f.landmarks) for f in findings if f.check == "left-right swap"}
    seen: set[tuple] = set()
    for finding in findings:
        key = (finding.check, finding.split, finding.sample_id, finding.landmarks)
        whole = finding.check == "y from the bottom" and not finding.sample_id
        exact = (*key, None if whole else finding.message)
        if exact in seen or (finding.check == "swapped landmarks" and key[1:] in pairs):
            continue
        seen.add(exact)
        yield finding


def _order(finding: Finding) -> tuple:
    """Sort by severity, then by kind in the order of the table, then by score."""
    kind = list(KINDS).index(finding.check)
    return SEVERITIES.index(finding.severity), kind, -finding.score, finding.split, finding.sample_id


def _range(values: np.ndarray) -> list[float] | None:
    values = values[np.isfinite(values)]
    return [round(float(values.min()), 4), round(float(values.max()), 4)] if len(values) else None


def _describe_split(cases: Cases, name: str) -> dict[str, Any]:
    chosen = [n for n, split in enumerate(cases.splits) if split == name]
    missing = np.isnan(cases.points[chosen].sum(axis=2))
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
