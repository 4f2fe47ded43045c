"""What a data set is like, as numbers that the rules of a plan decide by."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.check_cases import Cases
from mmlandmark.datasets.image_checks import Pictures, copied_groups
from mmlandmark.datasets.image_io import LoadedImage, read_image
from mmlandmark.datasets.leak_checks import same_files
from mmlandmark.datasets.volume_images import Volumes
from mmlandmark.planning.loaded_axes import LoadedAxes, loaded_axes, pose_angles
from mmlandmark.shape import align, find_typical_of_some
from mmlandmark.structures import LandmarkSchema, spacing_of

_IMAGES = 24  # that are read for grey values and time
_VOXELS = 2**21  # of a volume that are looked at
_PICTURE_SECONDS = 60.0


@dataclass(frozen=True)
class Fingerprint:
    """Properties of a data set; sizes are in array order, (height, width) or (depth, height, width).

    Sizes and spacings of volumes are along the axes of the patient, as images are loaded, not as they are
    stored.

    Grey values, colours and tags are those of a few images of the training part, and how shapes vary is
    measured there, too: the other parts decide nothing that the network sees.

    Attributes:
        images: Number of images.
        patients: Number of groups that a split must not divide: patients, and copies of one image.
        has_groups: Whether the annotation names the patients.
        parts: Images by the split that the annotation assigns them to, ``""`` for none.
        dims: 2 or 3.
        landmarks: K names.
        missing: Landmark -> number of images in which it is not annotated, where there are any.
        absent: Landmark -> number of images in which it is known to be absent, where there are any.
        empty_images: Images without a single landmark.
        median_size: Of the images.
        smallest_size: Shortest side along each axis.
        largest_size: Longest side along each axis.
        aspect_spread: Largest relative deviation of an image's proportions from those of the median size.
        spacing: Median mm per pixel (x, y[, z]) of the images, None if not all have one.
        spacing_known: Images with a spacing.
        spacing_range: Smallest and largest spacing along each axis, None if not all have one.
        extent: (x, y, z) mm of the median volume; None for images, and without spacing.
        orientations: Number of volumes by the order of their stored voxels, ``""`` where it is unknown.
        scale_without_unit: (smallest, largest) scale whose unit nobody has said, None if there is none.
        colour: Fraction of the images read that have colours.
        bits: Largest number of bits of their values, None for floats.
        values: (lowest, highest) value, at the 0.5th and the 99.5th percentile.
        used: Part of the range from black to white that the values take, in the widest image of those with
            the most bits; of these are the mean, the deviation and the border, too.
        file_range: (black, white) of the files, the widest.
        own_contrast: How many times larger the range of grey values is in one image than in another.
        own_mean: Mean grey value where that range of every image becomes 0 to 1.
        own_std: Standard deviation likewise.
        mean: Mean grey value, between black (0) and white (1).
        std: Standard deviation of grey values about it.
        border: Median grey value at the border of the images.
        orientation_tags: Images read that ask viewers to turn them.
        rotation: Standard deviation of the shapes' rotation in degrees; of volumes, about x, y and z of the
            patient.
        scale: Standard deviation of the logarithm of the shapes' size, relative to that of the image.
        position: Standard deviation of the shapes' centres, as a fraction of the shorter side.
        read_seconds: Median time to decode an image.
        flip_pairs: Of the schema, as indices.
        copies: Images that show the same picture as another.
    """

    images: int
    patients: int
    has_groups: bool
    parts: dict[str, int]
    dims: int
    landmarks: list[str]
    missing: dict[str, int]
    absent: dict[str, int]
    empty_images: int
    median_size: list[int]
    smallest_size: list[int]
    largest_size: list[int]
    aspect_spread: float
    spacing: list[float] | None
    spacing_known: int
    spacing_range: list[list[float]] | None
    extent: list[float] | None
    orientations: dict[str, int]
    scale_without_unit: list[float] | None
    colour: float
    bits: int | None
    values: list[float]
    used: float
    file_range: list[float]
    own_contrast: float
    own_mean: float
    own_std: float
    mean: float
    std: float
    border: float
    orientation_tags: int
    rotation: float | list[float]
    scale: float
    position: float
    read_seconds: float
    flip_pairs: list[list[int]] = field(default_factory=list)
    copies: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fingerprint in the types of JSON."""
        return asdict(self)


class DataView:
    """The records and small pictures of a data set, read once for fingerprint, checks and split.

    Args:
        dataset: The data set.
        like: A view of the same images with other points, whose pictures are used again.

    Attributes:
        cases: Its records as arrays.
        pictures: Its images or volumes, reduced in size, and those that cannot be read, in whatever part.
        copied: Groups of records that show the same picture.
        left_out: What of the pictures was not looked at, each as a phrase.
        axes: Sizes, spacing and points as images are loaded.
    """

    def __init__(self, dataset: LandmarkDataset, like: DataView | None = None) -> None:
        self.dataset = dataset
        self.cases = Cases({"all": dataset})
        self.axes = loaded_axes(self.cases)
        self.pictures: Pictures | Volumes
        self.copied: list[list[int]]
        if like is None:
            if self.cases.schema.dims == 3:
                self.pictures = Volumes(self.cases, (), judge=False, seconds=_PICTURE_SECONDS)
                self.cases.leave_out("whether points fit what their volumes show")
            else:
                self.pictures = Pictures(self.cases, seconds=_PICTURE_SECONDS)
            self.copied = copied_groups(self.pictures.small)
            self.left_out = list(self.cases.left_out)
        else:
            self.pictures, self.copied, self.left_out = like.pictures, like.copied, like.left_out

    def groups(self) -> list[str]:
        """Return N names of groups that stay in one part: patients, joined where they share a picture."""
        records = self.cases.records
        names = [r["sample_id"] if r["group"] is None else f"group {r['group']}" for r in records]
        equal = [*same_files(self.cases).values(), *self.copied]
        for members in equal:
            one, others = names[members[0]], {names[n] for n in members}
            names = [one if name in others else name for name in names]
        return names

    def replaced_spacing(self, spacing: float | Sequence[float]) -> list[int]:
        """Return the rows of volumes that get this spacing although their file states another one."""
        given = np.broadcast_to(np.asarray(spacing, dtype=np.float64), self.cases.spacing.shape[1:])
        rows = np.flatnonzero(np.isclose(self.cases.spacing, given).all(axis=1)).tolist()
        frames = {n: frame for n in rows if (frame := self.cases.frames[n]) is not None}
        return [n for n, frame in frames.items() if not np.allclose(spacing_of(frame), given, rtol=1e-3)]

    def splits(self) -> dict[str, int]:
        """Return the number of images by the split that the annotation assigns them to, ``""`` for none."""
        return dict(Counter(str(record.get("split") or "") for record in self.cases.records))

    def annotated(self) -> tuple[int, dict[str, int]]:
        """Return the groups with a landmark, and by split the images with one: what can be divided."""
        known: np.ndarray = np.any(np.isfinite(self.cases.points).all(axis=2), axis=1)
        groups = {group for group, one in zip(self.groups(), known, strict=True) if one}
        of_known = (r.get("split") or "" for r, one in zip(self.cases.records, known, strict=True) if one)
        return len(groups), dict.fromkeys(self.splits(), 0) | dict(Counter(map(str, of_known)))


def read_fingerprint(
    view: DataView, schema: LandmarkSchema, train: Sequence[str], also: Sequence[str] = ()
) -> Fingerprint:
    """Return the fingerprint of a data set; a few of its images are decoded.

    Args:
        view: The data.
        schema: Its landmarks, with the pairs that are declared.
        train: Sample ids of the training part.
        also: Files of further images that the network sees, for grey values and colours.

    Raises:
        ValueError: An image of the training part cannot be read.
    """
    cases, records = view.cases, view.cases.records
    ids = set(train)
    rows = [n for n, record in enumerate(records) if record["sample_id"] in ids]
    axes = view.axes
    spacing = axes.spacing[np.isfinite(axes.spacing).all(axis=1)]
    known = len(spacing) == len(records)
    sizes = _sizes(axes.sizes)
    return Fingerprint(
        images=len(records),
        patients=len(set(view.groups())),
        has_groups=any(record["group"] is not None for record in records),
        parts=view.splits(),
        dims=cases.schema.dims,
        landmarks=list(cases.schema.landmarks),
        **_completeness(cases),
        **sizes,
        spacing=_rounded(np.median(spacing, axis=0), 5) if known else None,
        spacing_known=len(spacing),
        spacing_range=[_rounded(ends, 5) for ends in (spacing.min(axis=0), spacing.max(axis=0))]
        if known
        else None,
        extent=_rounded(np.median(spacing * axes.sizes, axis=0), 2) if known and axes.stored else None,
        orientations=axes.orientations,
        scale_without_unit=_scale(records),
        **_pixels([*also, *(records[n]["img_path"] for n in rows)]),
        **_poses(axes, rows),
        flip_pairs=[list(pair) for pair in schema.flip_pairs],
        copies=sum(len(group) - 1 for group in view.copied),
    )


def _scale(records: Sequence[dict[str, Any]]) -> list[float] | None:
    scales = [record["scale_without_unit"] for record in records if record.get("scale_without_unit")]
    return [min(scales), max(scales)] if scales else None


def _completeness(cases: Cases) -> dict[str, Any]:
    names = cases.schema.landmarks
    lost = ~np.isfinite(cases.points).all(axis=2)
    absent = np.zeros_like(lost)
    for n, record in enumerate(cases.records):
        if record.get("visibility") is not None:
            absent[n] = np.asarray(record["visibility"]) < 0
    counts = {"missing": (lost & ~absent).sum(axis=0), "absent": absent.sum(axis=0)}
    return {
        key: {name: int(c) for name, c in zip(names, count, strict=True) if c}
        for key, count in counts.items()
    } | dict(empty_images=int((lost | absent).all(axis=1).sum()))


def _sizes(sizes: np.ndarray) -> dict[str, Any]:
    """Return statistics of (N, D) sizes (width, height[, depth]), in array order."""
    known = sizes[np.isfinite(sizes).all(axis=1), ::-1]
    if not len(known):
        raise ValueError("the size of no image is known: no image exists or none can be read")
    middle = np.median(known, axis=0)
    logs = np.log(known / middle)
    spread = np.abs(logs - logs.mean(axis=1, keepdims=True)).max() * 2 if len(known) else 0.0
    return dict(
        median_size=[round(float(side)) for side in middle],
        smallest_size=[int(side) for side in known.min(axis=0)],
        largest_size=[int(side) for side in known.max(axis=0)],
        aspect_spread=round(float(math.expm1(spread)), 4),
    )


@dataclass(frozen=True)
class _Look:
    """What one image tells.

    Attributes:
        grey: Its grey values; of a volume, of every n-th voxel along each axis.
        value_range: (black, white) of its file.
        bits: Of its values, None for floats.
        colour: Whether it has colours.
        turned: Whether a tag asks viewers to turn it.
        seconds: To decode it.
    """

    grey: np.ndarray
    value_range: tuple[float, float]
    bits: int | None
    colour: bool
    turned: bool
    seconds: float


def _look_at(path: str) -> _Look:
    begin = time.perf_counter()
    image = read_image(path)
    seconds = time.perf_counter() - begin
    turned = any(remark.check == "orientation tag" for remark in image.remarks)
    colour = image.array.ndim > len(image.ori_shape)
    return _Look(_grey(image), image.value_range, image.bits, colour, turned, seconds)


def _looks(paths: Sequence[str | None]) -> list[_Look]:
    """Return what a few of the images show, as many as can be read in a reasonable time."""
    paths = [path for path in paths if path is not None]
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(_IMAGES, len(paths))).round().astype(int))
    looks: list[_Look] = []
    begin = time.monotonic()
    for index in chosen:
        try:
            looks.append(_look_at(str(paths[index])))
        except (FileNotFoundError, ValueError) as error:  # one that was not read before, for lack of time
            raise ValueError(f"{error}; mmlandmark check finds all that cannot be read") from error
        if sum(look.grey.size for look in looks) > 2**27 or time.monotonic() - begin > _PICTURE_SECONDS:
            break
    return looks


def _pixels(paths: Sequence[str | None]) -> dict[str, Any]:
    """Return what a few of the images tell about colour, bits, grey values, tags and time."""
    looks = _looks(paths)
    bits = [look.bits for look in looks]
    most = None if None in bits else max(bits)  # type: ignore[type-var]
    # ``bits`` of LoadImage, which follow from this, change nothing in images of fewer.
    wide = [look for look in looks if most is None or look.bits == most]
    units = [(look.grey - low) / (high - low) for look in wide for low, high in (look.value_range,)]
    ends = np.array([np.percentile(look.grey, (0.5, 99.5)) for look in looks])
    everything = _sample(units)
    widest = max(looks, key=lambda look: look.value_range[1] - look.value_range[0])
    spans = np.maximum(ends[:, 1] - ends[:, 0], 1e-12)
    own = _sample(
        ((look.grey - low) / span).clip(0, 1) for look, (low, _), span in zip(looks, ends, spans, strict=True)
    )
    return dict(
        colour=round(float(np.mean([look.colour for look in looks])), 3),
        bits=most,
        values=_rounded([ends[:, 0].min(), ends[:, 1].max()], 4),
        used=round(max(float(unit.max() - unit.min()) for unit in units), 5),
        file_range=list(widest.value_range),
        own_contrast=round(float(spans.max() / spans.min()), 3),
        own_mean=round(float(own.mean()), 3),
        own_std=round(float(own.std()), 3),
        mean=round(float(everything.mean()), 3),
        std=round(float(everything.std()), 3),
        border=round(float(np.median([_border_value(unit) for unit in units])), 3),
        orientation_tags=sum(look.turned for look in looks),
        read_seconds=round(float(np.median([look.seconds for look in looks])), 5),
    )


def _sample(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Return some of the values of arrays, about equally many of each."""
    return np.concatenate([array.ravel()[:: max(1, array.size // 20000)] for array in arrays])


def _grey(image: LoadedImage) -> np.ndarray:
    dims = len(image.ori_shape)
    array: np.ndarray = np.asarray(image.array)
    if dims == 3:
        step = max(1, math.ceil((math.prod(array.shape[:3]) / _VOXELS) ** (1 / 3)))
        array = array[::step, ::step, ::step]
    array = np.array(array, dtype=np.float32)
    return array.mean(axis=-1) if array.ndim > dims else array


def _border_value(grey: np.ndarray) -> float:
    edges = [np.take(grey, index, axis=axis).ravel() for axis in range(grey.ndim) for index in (0, -1)]
    return float(np.median(np.concatenate(edges)))


def _poses(axes: LoadedAxes, rows: Sequence[int]) -> dict[str, Any]:
    """Return how much rotation, size and place of the shapes of some records vary.

    Those of images are as in images of one size, those of volumes in mm, where the spacing is known.
    """
    sizes, points = axes.sizes[rows], axes.points[rows]
    dims = sizes.shape[1]
    if dims == 3 and np.isfinite(axes.spacing[rows]).all():
        sizes, points = sizes * axes.spacing[rows], points * axes.spacing[rows][:, None]
        shorter = np.full(len(rows), np.nanmedian(np.nanmin(sizes, axis=1)))
    else:
        with np.errstate(invalid="ignore"):
            shorter = np.nanmin(sizes, axis=1)
    shapes = points / shorter[:, None, None]
    typical = find_typical_of_some(shapes)
    nothing = dict(rotation=0.0 if dims == 2 else [0.0] * 3, scale=0.0, position=0.0)
    if typical is None:
        return nothing
    pose = align(shapes, typical)
    good = np.isfinite(pose.residuals)
    if good.sum() < 3:
        return nothing
    middle = sizes[good] / shorter[good, None] / 2
    position = (pose.centers[good] - middle).std(axis=0).max()
    if dims == 2:
        angles = np.arctan2(pose.rotations[good, 1, 0], pose.rotations[good, 0, 0])
        length = min(abs(np.exp(1j * angles).mean()), 1 - 1e-12)
        turned: Any = round(float(np.degrees(np.sqrt(-2 * np.log(max(length, 1e-6))))), 2)  # circular
    else:
        turned = _rounded(pose_angles(pose.rotations[good]).std(axis=0), 2)
    scale = np.log(pose.scales[good]).std()
    return dict(rotation=turned, scale=round(float(scale), 4), position=round(float(position), 4))


def _rounded(values: Sequence[float] | np.ndarray, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
