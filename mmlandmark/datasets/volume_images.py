"""What the volumes of a check show: each is decoded once, for everything that looks at voxels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from mmlandmark.datasets.axis_checks import AXIS_CHANGES, in_words, upright_fractions
from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.datasets.image_checks import (
    Progress,
    certainty_of,
    misfits,
    resized,
    structure_of,
    with_the_others,
)
from mmlandmark.datasets.image_io import LoadedImage, from_array, read_image, to_canonical
from mmlandmark.datasets.pixel_checks import Look, chosen_rows, judged, load_step, look_at, unreadable
from mmlandmark.shape import both_sides, find_typical_of_some, mirror_image

See = Callable[[str, int, LoadedImage, Sequence[Finding]], None]

_SIDE = 64  # longest side of the reduced volumes
_PATCH, _REACH = 28, 1.5  # voxels and half width (in sizes of the shape) of a volume aligned to its shape
_SMOOTH = 2.0  # voxels of a patch
_ENOUGH = 10  # volumes to determine the order and directions of axes
_TRIED = 40  # volumes that are tried with every change of axes
# Axes counted from the other end, or in another order.
_CHANGES = [m for m in AXIS_CHANGES if (np.diag(m) != 0).all() or (m >= 0).all()]
_CERTAIN = 4.0  # standard errors


class Volumes:
    """The volumes of a check, reduced in size.

    Args:
        cases: The records. Of volumes that a dataset makes itself, only a few are made.
        found: Findings so far.
        progress: Called with the number of volumes decoded and the total number, or None.
        see: Called with the split and index of every decoded volume, the volume, and the findings so far.
        judge: Whether the voxels of a few volumes of every split are judged as their pipelines see them.
        seconds: Time after which no further volume is read; None reads all.

    Attributes:
        small: (d, h, w) float32 by record, within 0..1, longest side 64, in the order of axes of the reader.
        problems: Findings about volumes that cannot be read, and about the voxels of a few of every split.
    """

    def __init__(
        self,
        cases: Cases,
        found: Sequence[Finding],
        progress: Progress | None = None,
        see: See | None = None,
        *,
        judge: bool = True,
        seconds: float | None = None,
    ) -> None:
        end = None if seconds is None else time.monotonic() + seconds
        self.small: dict[int, np.ndarray] = {}
        self.problems: list[Finding] = []
        broken = {(finding.split, finding.sample_id) for finding in cases.problems}
        closer = {
            (split, row) for split, data in cases.datasets.items() for row in chosen_rows(len(data)) if judge
        }
        looks: dict[str, list[Look]] = {split: [] for split in cases.datasets}
        rows = [
            n
            for n, record in enumerate(cases.records)
            if (cases.splits[n], record["sample_id"]) not in broken
            and (_has_file(record) or cases.places[n] in closer)
        ]
        for done, n in enumerate(rows):
            split, index = cases.places[n]
            image = self._read(cases, n)
            if image is not None:
                if _has_file(cases.records[n]):
                    self.small[n] = reduced(image.array)
                if (split, index) in closer:
                    looks[split].append(look_at(cases.datasets[split], cases.records[n], image, split))
                if see is not None:
                    see(split, index, image, found)
            if progress is not None:
                progress(done + 1, len(rows))
            if end is not None and time.monotonic() > end and done + 1 < len(rows):
                left = f"{len(rows) - done - 1} of {len(rows)} volumes, for lack of time"
                cases.leave_out(f"whether they can be read, and copies: {left}")
                break
        self.problems += [finding for few in looks.values() for finding in judged(few)]

    def _read(self, cases: Cases, n: int) -> LoadedImage | None:
        record = cases.records[n]
        if not _has_file(record):
            return _made(cases, n)
        path, fill = record["img_path"], load_step(cases.datasets[cases.places[n][0]]).fill_value
        try:
            return read_image(path, fill_value=fill)
        except (FileNotFoundError, ValueError, ImportError) as error:
            finding = unreadable(record, cases.splits[n], error)
            self.problems.append(finding)
            return read_image(path, fill_value=0) if finding.check == "pixels not finite" else None


def _has_file(record: dict[str, Any]) -> bool:
    return record["img_path"] is not None and "slice" not in record


def _made(cases: Cases, n: int) -> LoadedImage | None:
    """Return a volume that its dataset makes itself, or None if there is no volume."""
    split, index = cases.places[n]
    array = cases.datasets[split].get_data_info(index).get("img")
    if array is None:
        return None
    record, world = cases.records[n], cases.frames[n]
    spacing = record["spacing"] if world is None else None
    return to_canonical(from_array(array, spacing, 3, world_from_original=world, fill_value=0))


def reduced(array: np.ndarray) -> np.ndarray:
    """Return a volume as (d, h, w) float32 with a longest side of 64, its values spread over 0..1."""
    factor = min(1.0, _SIDE / max(array.shape[:3]))
    depth, height, width = (max(round(side * factor), 1) for side in array.shape[:3])
    slices = []
    for plane in array:  # one slice at a time: a float copy of a volume is large
        plane = plane.astype(np.float32)
        plane = plane.mean(axis=2) if plane.ndim == 3 else plane
        slices.append(resized(plane, (height, width)).ravel())
    stack = resized(np.stack(slices), (depth, height * width))
    low, high = np.percentile(stack, (0.5, 99.5))
    small = ((stack - low) / max(float(high - low), 1e-6)).clip(0, 1)
    return small.reshape(depth, height, width).astype(np.float32)


def points_in_volumes(cases: Cases, volumes: Volumes) -> Iterator[Finding]:
    """Points that fit the volumes better when axes change, and single volumes that do not fit their points.

    Every volume is rotated, shifted and scaled so that its shape coincides with the typical one. Volumes with
    correct annotations then look alike.
    """
    rows = [n for n in volumes.small if np.isfinite(cases.clean[n]).all(axis=1).sum() > 3]
    rows = [n for n in rows if np.isfinite(cases.sizes[n]).all()]
    if len(rows) < _ENOUGH:
        return
    given = _agreement(cases, volumes, rows, np.eye(3))
    few = rows[:: max(1, len(rows) // _TRIED)]
    if given is None:
        return
    own = given if few == rows else _agreement(cases, volumes, few, np.eye(3))
    best: tuple[float, np.ndarray] | None = None
    for change in _CHANGES:
        changed = _agreement(cases, volumes, few, change)
        sure = None if changed is None or own is None else certainty_of(changed - own)
        if sure is not None and sure > max(_CERTAIN, 0.0 if best is None else best[0]):
            best = sure, change
    if best is None:
        yield from misfits(cases, rows, given)
        return
    message = (
        f"the points of {len(few)} volumes fit their images better when {in_words(best[1])} "
        f"({best[0]:.1f} standard errors)"
    )
    for split in dict.fromkeys(cases.splits[n] for n in rows):
        yield cases.whole(split, "axes of a volume", message, score=best[0])


def _agreement(cases: Cases, volumes: Volumes, rows: list[int], change: np.ndarray) -> np.ndarray | None:
    """Return (M,) correlations of every volume, aligned to the typical shape, with the mean of the others.

    Args:
        cases: The records.
        volumes: Their volumes.
        rows: M records.
        change: (3, 3) signed permutation of the stored axes, of the points alone.
    """
    points = np.stack([_changed(cases, n, change) for n in rows])
    typical = find_typical_of_some(points)
    if typical is None:
        return None
    plain, other = both_sides(points, typical)
    with np.errstate(invalid="ignore"):
        sides = other.residuals < plain.residuals
    grid = np.linspace(-_REACH, _REACH, _PATCH)
    places = np.stack(np.meshgrid(grid, grid, grid), axis=-1).reshape(-1, 3)
    patches = np.empty((len(rows), len(places)), np.float32)
    for i, n in enumerate(rows):
        pose = other if sides[i] else plain
        world = places @ pose.rotations[i].T * pose.scales[i] + pose.centers[i]
        world = mirror_image(world) if sides[i] else world
        small = volumes.small[n]
        voxels = upright_fractions(cases, n, world) * small.shape[::-1] - 0.5
        patch = map_coordinates(small, voxels[:, ::-1].T, order=1, cval=np.nan, output=np.float32)
        patches[i] = structure_of(patch.reshape(3 * [_PATCH]), _SMOOTH).ravel()
    return with_the_others(patches)


def _changed(cases: Cases, n: int, change: np.ndarray) -> np.ndarray:
    """Return the (K, 3) mm of landmarks whose stored axes are exchanged and counted from the other end."""
    ends = np.where(change.sum(axis=1) < 0, cases.sizes[n] - 1, 0)
    voxels = cases.clean[n] @ change.T + ends
    return voxels @ cases.to_mm[n, :3, :3].T + cases.to_mm[n, :3, 3]
