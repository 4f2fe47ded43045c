"""Plants known faults into clean annotations, and counts how many of them a check detects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.phantom import SCHEMAS, sample_scene
from mmlandmark.structures import LandmarkSchema


@dataclass(frozen=True)
class Annotations:
    """Annotations of a set of images without the images.

    Attributes:
        name: Name of the family of shapes.
        schema: Landmarks and their flip pairs.
        points: (N, K, D) pixels, NaN where missing.
        sizes: (N, D) width, height and, of volumes, depth in pixels.
        spacing: (N,) mm per pixel of images, NaN of volumes.
        faulty: N kinds of fault, ``""`` for a clean record.
        wrong: N tuples of wrong landmarks, empty if the whole shape is wrong.
        frames: (N, 4, 4) voxels to mm in LPS; None for images.
    """

    name: str
    schema: LandmarkSchema
    points: np.ndarray
    sizes: np.ndarray
    spacing: np.ndarray
    faulty: tuple[str, ...] = ()
    wrong: tuple[tuple[int, ...], ...] = field(default=())
    frames: np.ndarray | None = None

    def dataset(self) -> LandmarkDataset:
        """Return a dataset of these records, without image files."""
        return _ArrayDataset(self)


class _ArrayDataset(LandmarkDataset):
    def __init__(self, annotations: Annotations) -> None:
        self._annotations = annotations
        super().__init__(schema=annotations.schema, missing_images="keep", serialize_data=False)

    def load_records(self) -> list[dict[str, Any]]:
        given = self._annotations
        return [
            dict(
                sample_id=str(n),
                img_path=None,
                landmarks=points,
                spacing=float(given.spacing[n]) if given.frames is None else None,
                ori_shape=tuple(int(side) for side in given.sizes[n][::-1]),
                world_from_original=None if given.frames is None else given.frames[n],
            )
            for n, points in enumerate(given.points)
        ]


def phantom_annotations(kind: str, count: int = 200, seed: int = 0) -> Annotations:
    """Return the landmarks of ``count`` phantoms; nothing is rendered."""
    scenes = [sample_scene(kind, seed, index) for index in range(count)]
    sizes = np.array([scene.size[::-1] for scene in scenes], dtype=float)
    points = np.stack([scene.landmarks for scene in scenes]).astype(np.float64)
    spacing = np.array([scene.spacing[0] for scene in scenes])
    clean = _clean(f"{kind} phantoms", LandmarkSchema.load(SCHEMAS[kind]), points, sizes, spacing)
    if clean.schema.dims == 2:
        return clean
    frames = np.stack([np.asarray(scene.world_from_original) for scene in scenes])
    return replace(clean, frames=frames, spacing=np.full(count, np.nan))


# Vein junctions of an insect's wing, root at the left; and landmarks of an ultrasound view, which may be
# mirrored. In units of their size.
_WING = [(-1.9, 0.1), (-1.8, -0.15), (-1.2, -0.5), (-0.2, -0.75), (0.9, -0.6), (1.9, -0.1), (1.8, 0.25),
         (1.0, 0.62), (-0.2, 0.85), (-0.5, 0.2), (0.2, -0.12), (0.35, 0.3), (-0.9, -0.1),
         (0.9, 0.05)]  # fmt: skip
_VIEW = [(-1.3, 0.0), (-0.4, -0.7), (0.5, -0.75), (1.2, 0.1), (0.1, 0.8), (-0.5, 0.3)]


def wing_annotations(count: int = 200, seed: int = 0) -> Annotations:
    """Return 14 landmarks of left and right wings in any rotation."""
    return _family("wings", _WING, count, seed, bend=0.05, noise=0.012, turn=np.pi, grow=0.25, mirrored=0.5)


def ultrasound_annotations(count: int = 200, seed: int = 0) -> Annotations:
    """Return 6 landmarks that vary much, in views that are rotated, scaled and sometimes mirrored."""
    return _family("ultrasound", _VIEW, count, seed, bend=0.1, noise=0.03, turn=0.5, grow=0.3, mirrored=0.3)


def _family(
    name: str, places: Sequence, count: int, seed: int, *, bend: float, noise: float, turn: float,
    grow: float, mirrored: float,
) -> Annotations:  # fmt: skip
    """Return shapes that vary by a few smooth modes, then by pose, in images of 640 x 480."""
    rng = np.random.default_rng([seed, len(name)])
    mean = np.array(places, dtype=float)
    # Smooth in space: neighbours move together.
    gap = np.linalg.norm(mean[:, None] - mean[None], axis=-1)
    smooth = np.linalg.cholesky(np.exp(-((gap / 1.2) ** 2)) + 1e-6 * np.eye(len(mean)))
    points = np.empty((count, len(mean), 2))
    for n in range(count):
        shape = mean * (1 + rng.normal(0, 0.08, 2)) + bend * smooth @ rng.normal(size=mean.shape)
        shape = shape + rng.normal(0, noise, mean.shape)
        if rng.random() < mirrored:
            shape = shape * [-1, 1]
        angle = rng.uniform(-turn, turn)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turned = shape @ rotation.T
        reach = np.abs(turned).max(axis=0)
        scale = min(75 * np.exp(rng.normal(0, grow)), *((320, 240) / (reach + 0.05)))
        room = np.array([320, 240]) - scale * reach
        points[n] = scale * turned + (319.5, 239.5) + (rng.normal(0, 25, 2)).clip(-room, room)
    sizes = np.tile([640.0, 480.0], (count, 1))
    schema = LandmarkSchema.numbered(len(mean))
    return _clean(name, schema, points, sizes, np.full(count, 0.2))


def from_datasets(name: str, *datasets: LandmarkDataset) -> Annotations:
    """Return the annotations of datasets, assumed to be clean.

    Missing images are assumed to be large enough for all points of the datasets.
    """
    from mmlandmark.datasets.check_cases import Cases

    cases = Cases({str(n): dataset for n, dataset in enumerate(datasets)})
    reach = np.ceil(np.nanmax(cases.points, axis=(0, 1)) * 1.05 + 20)
    sizes = np.where(np.isnan(cases.sizes), reach, cases.sizes)
    clean = _clean(name, cases.schema, cases.points, sizes, np.ones(len(cases)))
    if cases.schema.dims == 2:
        return clean
    return replace(clean, frames=cases.to_mm, spacing=np.full(len(cases), np.nan))


def _clean(
    name: str, schema: LandmarkSchema, points: np.ndarray, sizes: np.ndarray, spacing: np.ndarray
) -> Annotations:
    count = len(points)
    return Annotations(name, schema, points, sizes, spacing, ("",) * count, ((),) * count)


# ---- faults: each changes one record (K, D) of an image (W, H[, depth]) and names the landmarks that became

Fault = Callable[[np.random.Generator, np.ndarray, np.ndarray, Any], tuple[np.ndarray, tuple[int, ...]]]


def _swap(rng, points, size, given):
    a, b = rng.choice(len(points), 2, replace=False)
    points[[a, b]] = points[[b, a]]
    return points, (int(a), int(b))


def _swap_sides(rng, points, size, given):
    a, b = given.schema.flip_pairs[rng.integers(len(given.schema.flip_pairs))]
    points[[a, b]] = points[[b, a]]
    return points, (a, b)


def _direction(rng: np.random.Generator, dims: int) -> np.ndarray:
    """Return a random unit vector."""
    if dims == 2:
        angle = rng.uniform(0, 2 * np.pi)
        return np.array([np.cos(angle), np.sin(angle)])
    vector = rng.normal(size=dims)
    return vector / np.linalg.norm(vector)


def _moved(fraction: float) -> Fault:
    def move(rng, points, size, given):
        k = int(rng.integers(len(points)))
        points[k] += fraction * _radius(points) * _direction(rng, len(size))
        return points.clip(0, size - 1), (k,)

    return move


def _placeholder(value: float | None) -> Fault:
    def put(rng, points, size, given):
        k = int(rng.integers(len(points)))
        points[k] = points[k] / size if value is None else value
        return points, (k,)

    return put


def _whole(change: Callable) -> Fault:
    def apply(rng, points, size, given):
        return change(rng, points, size), ()

    return apply


def _rescaled(rng, points, size):
    middle = points.mean(axis=0)
    return (points - middle) * rng.choice([0.5, 1.5]) + middle


def _shifted(rng, points, size):
    return points + 0.5 * _radius(points) * _direction(rng, len(size))


def _reversed(*axes: int) -> Fault:
    """Return the fault of counting voxels from the other end of some axes."""

    def turn(rng, points, size):
        points[:, list(axes)] = size[list(axes)] - 1 - points[:, list(axes)]
        return points

    return _whole(turn)


# Each changes the points of one record; :func:`plant` adds the faults that need two records or the spacing.
FAULTS: dict[str, Fault] = {
    "two landmarks exchanged": _swap,
    "left and right exchanged": _swap_sides,
    "moved by 5 % of the size": _moved(0.1),
    "moved by 15 %": _moved(0.3),
    "moved by 40 %": _moved(0.8),
    "(0, 0)": _placeholder(0.0),
    "(-1, -1)": _placeholder(-1.0),
    "fraction of the image": _placeholder(None),
    "all as fractions": _whole(lambda rng, points, size: points / size),
    "mirrored": _reversed(0),
    "y from the bottom": _reversed(1),
    "x and y exchanged": _whole(lambda rng, points, size: points[:, [1, 0, *range(2, len(size))]].copy()),
    "shuffled order": _whole(lambda rng, points, size: rng.permutation(points)),
    "whole shape shifted": _whole(_shifted),
    "whole shape scaled": _whole(_rescaled),
}
VOLUME_FAULTS: dict[str, Fault] = {
    "RAS for LPS": _reversed(0, 1),
    "z from the other end": _reversed(2),
    "order z, y, x": _whole(lambda rng, points, size: points[:, ::-1].copy()),
}
OTHER_FAULTS = ("annotation of another image", "copied annotation", "spacing in cm")


def faults_of(dims: int) -> dict[str, Fault]:
    """Return the faults that change the points of one record, of images or of volumes."""
    return FAULTS if dims == 2 else FAULTS | VOLUME_FAULTS


def _radius(points: np.ndarray) -> float:
    """Return the root mean square distance from the centre, about half the size of the shape."""
    return float(np.sqrt(np.nanvar(points, axis=0).sum()))


def plant(clean: Annotations, fraction: float = 0.15, seed: int = 0) -> Annotations:
    """Return annotations with one fault in every chosen record, all kinds equally often.

    Args:
        clean: Annotations without faults.
        fraction: Share of the records that become faulty.
        seed: Seed of the choice of records and of the faults.
    """
    rng = np.random.default_rng(seed)
    complete = np.flatnonzero(np.isfinite(clean.points).all(axis=(1, 2)))
    chosen = rng.permutation(complete)[: round(fraction * len(clean.points))]
    faults = faults_of(clean.schema.dims)
    kinds = [
        k for k in (*faults, *OTHER_FAULTS) if k != "left and right exchanged" or clean.schema.flip_pairs
    ]
    points, spacing = clean.points.copy(), clean.spacing.copy()
    frames = None if clean.frames is None else clean.frames.copy()
    faulty, wrong = list(clean.faulty), list(clean.wrong)
    offset = int(rng.integers(len(kinds)))
    for number, n in enumerate(chosen):
        kind = kinds[(offset + number) % len(kinds)]
        faulty[n] = kind
        if kind in faults:
            moved, wrong[n] = faults[kind](rng, points[n].copy(), clean.sizes[n], clean)
            # Reading a dataset refuses points further outside than this.
            points[n] = moved.clip(-0.4 * clean.sizes[n], 1.4 * clean.sizes[n])
        elif kind == "spacing in cm":
            spacing[n] /= 10
            if frames is not None:
                frames[n, :3] /= 10
        else:
            # Of two equal annotations the later one is reported.
            others = np.setdiff1d(complete, chosen)
            other = int(rng.choice(others[others < n] if (others < n).any() else others))
            points[n] = clean.points[other]
            if kind == "annotation of another image":  # not a copy, as when two files were exchanged
                points[n] = points[n] + rng.normal(0, 0.6, points[n].shape)
    return replace(
        clean, points=points, spacing=spacing, faulty=tuple(faulty), wrong=tuple(wrong), frames=frames
    )


@dataclass
class Tally:
    """Agreement of planted faults and findings.

    Attributes:
        counts: By kind of fault, [detected records, planted records, records whose landmark was named].
        false_alarms: Clean records with a finding, in data with planted faults.
        clean: Number of clean records.
    """

    counts: dict[str, list[int]] = field(default_factory=dict)
    false_alarms: int = 0
    clean: int = 0

    @property
    def recall(self) -> float:
        """Share of the faulty records that have a finding."""
        return sum(f[0] for f in self.counts.values()) / max(sum(f[1] for f in self.counts.values()), 1)

    @property
    def precision(self) -> float:
        """Share of the records with a finding that are faulty."""
        hits = sum(f[0] for f in self.counts.values())
        return hits / max(hits + self.false_alarms, 1)

    def add(self, given: Annotations, findings: Sequence[dict[str, Any]]) -> None:
        """Count the findings of a check of ``given``, except notes."""
        named: dict[str, set[int]] = {}
        for finding in findings:
            if finding["severity"] != "note":
                named.setdefault(finding["sample_id"], set()).update(finding["landmarks"])
        for n, (kind, wrong) in enumerate(zip(given.faulty, given.wrong, strict=True)):
            hit = str(n) in named
            if not kind:
                self.clean += 1
                self.false_alarms += hit
                continue
            row = self.counts.setdefault(kind, [0, 0, 0])
            row[0] += hit
            row[1] += 1
            row[2] += hit and bool(set(wrong) & named[str(n)])


def measure(
    clean: Annotations, seeds: Sequence[int] = (0, 1, 2), fraction: float = 0.15, **thresholds: Any
) -> Tally:
    """Plant faults into ``clean`` once for every seed, check the result, and count.

    Args:
        clean: Annotations without faults.
        seeds: Seeds of :func:`plant`.
        fraction: See :func:`plant`.
        thresholds: Fields of :class:`~mmlandmark.datasets.checks.Thresholds` that differ from the defaults.
    """
    from mmlandmark.datasets.checks import Thresholds, check_dataset

    tally = Tally()
    for seed in seeds:
        given = plant(clean, fraction, seed)
        report = check_dataset(dict(all=given.dataset()), Thresholds(**thresholds))
        tally.add(given, report["findings"])
    return tally


def alarms(clean: Annotations, **thresholds: Any) -> float:
    """Return the number of samples with a finding per 100 samples of ``clean``."""
    from mmlandmark.datasets.checks import Thresholds, check_dataset

    report = check_dataset(dict(all=clean.dataset()), Thresholds(**thresholds))
    samples = {f["sample_id"] for f in report["findings"] if f["severity"] != "note"} - {""}
    return 100 * len(samples) / len(clean.points)
