"""Geometry that takes a part of the frame, or enlarges it; see :mod:`.spatial` for the units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from mmcv.transforms import BaseTransform

from mmlandmark.datasets.transforms.frame import (
    check_fraction,
    checked_dims,
    checked_prob,
    checked_size,
    frame_size,
    happens,
    landmarks_in_frame,
    move_frame,
    to_pixels,
)
from mmlandmark.registry import TRANSFORMS
from mmlandmark.structures import apply_matrix, crop_matrix, flip_matrix, invert_matrix

_SEEN_SIDE = 128  # ForegroundCrop looks at about this many slices along each axis


def _crop(results: dict[str, Any], start: Sequence[float], size: Sequence[int]) -> dict[str, Any]:
    """Crop ``size`` (*S) pixels from ``start`` (*S); pixels outside the frame are padding."""
    return move_frame(results, crop_matrix(np.asarray(start, dtype=np.float64)[::-1]), size)


def _without_outside(results: dict[str, Any]) -> dict[str, Any]:
    """Make annotated landmarks outside of the frame absent."""
    points = landmarks_in_frame(results)
    last = np.asarray(results["input_shape"][::-1]) - 0.5
    outside = np.any((points < -0.5) | (points > last), axis=1, keepdims=True)
    known = results.get("visibility")
    seen = np.isfinite(points).all(1) if known is None else known
    results["visibility"] = np.where(outside[:, 0], -1, seen).astype(np.int8)
    for key in ("landmarks", "by_annotator"):
        if results.get(key) is not None:
            results[key] = np.where(outside, np.nan, results[key])
    return results


@TRANSFORMS.register_module()
class CenterCrop(BaseTransform):
    """Crop the centre of the frame; a frame that is smaller is padded and centred.

    Args:
        size: (*S) of the new frame.
    """

    def __init__(self, size: Sequence[int]) -> None:
        self.size = checked_size(size)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the frame."""
        old = frame_size(results, self)
        checked_dims(self.size, old, self)
        return _crop(results, self.start(results, old), self.size)

    def start(self, results: dict[str, Any], old: Sequence[int]) -> list[int]:
        """Return the first pixel (*S) of the new frame in one of size ``old`` (*S)."""
        return [(n - new) // 2 for n, new in zip(old, self.size, strict=True)]


@TRANSFORMS.register_module()
class TakeHalf(BaseTransform):
    """Crop the half of the frame that a case of ``HalfImageDataset`` shows; right halves are mirrored.

    Args:
        overlap: Fraction of the half's width to add beyond the middle, for landmarks that cross it.
    """

    def __init__(self, overlap: float = 0.0) -> None:
        if not 0 <= overlap <= 1:
            raise ValueError(f"TakeHalf: overlap must lie in [0, 1], got {overlap!r}")
        self.overlap = overlap

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the frame, mirrored for a right half."""
        size = frame_size(results, self)
        if results.get("half") not in ("left", "right"):
            raise ValueError(
                f"{results.get('sample_id')}: TakeHalf needs half='left' or 'right', got "
                f"{results.get('half')!r}: use it with HalfImageDataset"
            )
        if results["half"] == "right":
            move_frame(results, flip_matrix(size))
        width = min(size[-1], round(np.ceil(size[-1] / 2) * (1 + self.overlap)))
        return _crop(results, [0] * len(size), (*size[:-1], width))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(overlap={self.overlap})"


@TRANSFORMS.register_module()
class RandomCrop(CenterCrop):
    """Crop the frame at a random position; a frame that is smaller is padded and centred.

    Args:
        size: (*S) of the new frame.
    """

    def start(self, results: dict[str, Any], old: Sequence[int]) -> list[int]:
        """Return a random first pixel (*S) of the new frame."""
        return _random_start(results, old, self.size)


def _random_start(results: dict[str, Any], old: Sequence[int], size: Sequence[int]) -> list[int]:
    """Return a random start (*S) of a piece inside of a frame; it is centred where the frame is smaller."""
    rooms = [n - new for n, new in zip(old, size, strict=True)]
    draws = results["rng"].random(len(rooms))
    return [
        int(draw * (room + 1)) if room > 0 else room // 2 for room, draw in zip(rooms, draws, strict=True)
    ]


@TRANSFORMS.register_module()
class RandomPatch(BaseTransform):
    """Crop a patch around a random annotated landmark, with probability ``prob``, else from a random place.

    A patch stays inside of the frame as far as it fits; along a side that is smaller, the frame is padded and
    centred. ``Resample`` then reads only the part of the image that the patch shows, so that its memory
    depends on the patch, not on the volume. For training only, since it uses the annotation. Landmarks
    outside of the patch become absent: its pixels teach that they are not there, and nothing about their
    place. :class:`RandomCrop` takes all of its pieces from random places.

    Args:
        size: (*S) of the patch.
        around: Indices of the landmarks that patches are taken around; "landmarks" takes all of them.
        prob: Probability of a patch around a landmark, of a sample where one of them is annotated.
        jitter: How far the landmark may lie from the centre of the patch along each axis, as a fraction of
            half of the patch: with 0 the landmark is in the centre, with 1 anywhere in the patch.
    """

    def __init__(
        self,
        size: Sequence[int],
        around: Literal["landmarks"] | Sequence[int] = "landmarks",
        prob: float = 1.0,
        jitter: float = 0.5,
    ) -> None:
        self.size, self.prob = checked_size(size), checked_prob(prob)
        if around is None:
            raise ValueError("RandomPatch: around=None is RandomCrop, which takes pieces from random places")
        if around != "landmarks" and (
            isinstance(around, str) or not around or not all(k == int(k) and k >= 0 for k in around)
        ):
            raise ValueError(
                f"RandomPatch: around must be 'landmarks' or a list of their indices, got {around!r}"
            )
        if not 0 <= jitter <= 1:
            raise ValueError(f"RandomPatch: jitter must lie in [0, 1], got {jitter!r}")
        self.around, self.jitter = around, float(jitter)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the frame."""
        old = frame_size(results, self)
        checked_dims(self.size, old, self)
        # The number of draws does not depend on the sample.
        acts, choice = happens(results, self.prob), results["rng"].random()
        offset = results["rng"].uniform(-1, 1, len(old)) * self.jitter / 2
        start = _random_start(results, old, self.size)
        points = self._candidates(results)
        if acts and len(points):
            size = np.asarray(self.size)
            middle = points[int(choice * len(points))][::-1] + offset * size
            for axis, side in enumerate(old):
                if side > self.size[axis]:
                    first = int(np.floor(middle[axis] - (self.size[axis] - 1) / 2 + 0.5))
                    start[axis] = min(max(first, 0), side - self.size[axis])
        return _without_outside(_crop(results, start, self.size))

    def _candidates(self, results: dict[str, Any]) -> np.ndarray:
        """Return the (N, D) annotated landmarks that a patch may be taken around, in the frame."""
        points = landmarks_in_frame(results)
        if self.around != "landmarks":
            chosen = [int(k) for k in self.around]
            if max(chosen) >= len(points):
                raise ValueError(
                    f"{results.get('sample_id')}: RandomPatch: around has landmark {max(chosen)}, but there "
                    f"are {len(points)}, counted from 0"
                )
            points = points[chosen]
        return points[np.isfinite(points).all(1)]

    def __repr__(self) -> str:
        values = f"size={self.size}, around={self.around!r}, prob={self.prob}, jitter={self.jitter}"
        return f"{type(self).__name__}({values})"


@TRANSFORMS.register_module()
class ForegroundCrop(BaseTransform):
    """Crop the frame to what is brighter than the background of the loaded image.

    It does not use the annotation, so it serves training and prediction alike. The box is that of the slices,
    along each axis, in which enough pixels are brighter; single bright pixels of noise do not enlarge it.

    Args:
        threshold: Largest value of the background, in the unit of the file, e.g. -500 for Hounsfield units.
            None separates two classes of pixels by Otsu's method (1979).
        margin: Space around the box, as a fraction of the shorter side of the current frame.
        min_share: Share of the pixels of a slice that must be brighter.
    """

    def __init__(
        self, threshold: float | None = None, margin: float = 0.02, min_share: float = 0.001
    ) -> None:
        check_fraction(margin, "ForegroundCrop: margin")
        if not 0 <= min_share < 1:
            raise ValueError(f"ForegroundCrop: min_share must lie in [0, 1), got {min_share!r}")
        self.threshold, self.margin, self.min_share = threshold, margin, float(min_share)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the frame."""
        size = frame_size(results, self)
        box = self._box(results["img"], len(size))
        if box is None:
            return results
        corners = np.stack(np.meshgrid(*(box[::-1]), indexing="ij"), -1).reshape(-1, len(size))
        frame_from_img = results["input_from_original"] @ invert_matrix(results["img_from_original"])
        corners, margin = apply_matrix(frame_from_img, corners), to_pixels(self.margin, results)
        first = np.floor(corners.min(0) - margin + 0.5)
        last = np.ceil(corners.max(0) + margin - 0.5)
        # Beyond the frame, steps before this one have cut the foreground off.
        first, last = np.maximum(first, 0), np.minimum(last, np.asarray(size[::-1]) - 1)
        if (last < first).any():
            return results
        return _crop(results, first[::-1], (last - first + 1)[::-1].astype(int))

    def _box(self, img: np.ndarray, dims: int) -> list[tuple[float, float]] | None:
        """Return (first, last) edge of the foreground in pixels of the image, (*S); None if there is none."""
        steps = [max(1, side // _SEEN_SIDE) for side in img.shape[:dims]]
        seen = img[tuple(slice(step // 2, None, step) for step in steps)]
        if seen.ndim > dims:
            seen = seen.max(-1)
        limit = otsu_threshold(seen) if self.threshold is None else self.threshold
        bright = seen > limit
        box = []
        for axis, step in enumerate(steps):
            share = bright.mean(tuple(a for a in range(dims) if a != axis))
            where = np.flatnonzero(share > self.min_share)
            if len(where) == 0:
                return None
            first, last = int(where[0]) * step, int(where[-1] + 1) * step
            box.append((first - 0.5, min(last, img.shape[axis]) - 0.5))
        return box

    def __repr__(self) -> str:
        values = f"threshold={self.threshold}, margin={self.margin}, min_share={self.min_share}"
        return f"{type(self).__name__}({values})"


def otsu_threshold(values: np.ndarray) -> float:
    """Return the value that splits pixels into two classes of the smallest variances (Otsu 1979).

    Example:
        >>> 10 <= otsu_threshold(np.array([9, 10, 10, 200, 201])) < 200
        True
    """
    counts, edges = np.histogram(values.astype(np.float32, copy=False), bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1].astype(np.float64), float(counts.sum())
    sums = np.cumsum(counts * middles)[:-1]
    mean = float((counts * middles).sum()) / total
    # Variance between the classes, eq. 18, without its constant factor.
    spread = (mean * below - sums) ** 2 / np.maximum(below * (total - below), 1)
    best = np.flatnonzero(spread == spread.max())
    # Of a gap between the classes every value is as good: its middle is farthest from both.
    return float((edges[best[0] + 1] + edges[best[-1] + 1]) / 2)


@TRANSFORMS.register_module()
class CropAroundLandmarks(BaseTransform):
    """Crop to the bounding box of all annotated landmarks. For training only, since it uses the annotation.

    A sample without annotated landmarks keeps its frame.

    Args:
        margin: Space around the landmarks, as a fraction of the shorter side of the current frame.
        jitter: Largest random change of every side of the box, as such a fraction; at most ``margin``, so
            that no landmark is cut off.
    """

    def __init__(self, margin: float = 0.05, jitter: float = 0.0) -> None:
        check_fraction(margin, "CropAroundLandmarks: margin")
        check_fraction(jitter, "CropAroundLandmarks: jitter")
        if jitter > margin:
            raise ValueError(f"CropAroundLandmarks: jitter must be <= margin, got {jitter} and {margin}")
        self.margin, self.jitter = margin, jitter

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the frame."""
        size = frame_size(results, self)
        margin = to_pixels(self.margin, results)
        draws = results["rng"].uniform(-1, 1, (2, len(size))) * to_pixels(self.jitter, results)
        points = landmarks_in_frame(results)
        points = points[np.isfinite(points).all(1)]
        if len(points) == 0:
            return results
        first = np.floor(points.min(0) - margin - draws[0])
        last = np.ceil(points.max(0) + margin + draws[1])
        return _crop(results, first[::-1], (last - first + 1)[::-1].astype(int))


@TRANSFORMS.register_module()
class Pad(BaseTransform):
    """Enlarge the frame, centred: half of the padding before, rounded down, the rest after.

    Args:
        size: (*S); shorter sides grow to it. None pads to the divisor only.
        divisor: Every side grows to a multiple of this, as some networks need.
    """

    def __init__(self, size: Sequence[int] | None = None, divisor: int = 1) -> None:
        self.size = None if size is None else checked_size(size)
        if divisor != int(divisor) or divisor < 1:
            raise ValueError(f"Pad: divisor must be a positive integer, got {divisor!r}")
        self.divisor = int(divisor)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pad the frame."""
        old = frame_size(results, self)
        if self.size is not None:
            checked_dims(self.size, old, self)
        wanted = [max(n, new) for n, new in zip(old, self.size or old, strict=True)]
        size = [-(-n // self.divisor) * self.divisor for n in wanted]
        return _crop(results, [-((new - n) // 2) for n, new in zip(old, size, strict=True)], size)
