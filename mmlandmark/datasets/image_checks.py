"""Checks of image content: copies under other names, and points that do not fit their image.

Images are read once, at reduced size and in parallel.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from mmlandmark.datasets.check_cases import Cases, Finding, role
from mmlandmark.datasets.image_io import LoadedImage, NonFinitePixels, read_image
from mmlandmark.datasets.leak_checks import double_images, leak_findings, same_files
from mmlandmark.datasets.pixel_checks import load_step
from mmlandmark.datasets.shards.shard_index import STORED
from mmlandmark.shape import both_sides, find_typical_of_some, mirror_image
from mmlandmark.structures import apply_matrix, resize_matrix

Progress = Callable[[int, int], None]
Small = tuple[np.ndarray, np.ndarray]  # a picture, and the matrix from stored pixels to its own

_SIDE = 192  # longer side of the reduced pictures
# Sides of what is compared for copies, of images and volumes.
_COARSE, _FINE = {2: 24, 3: 12}, {2: 96, 3: 48}
_ALIKE = 0.7  # correlation of coarse pictures that deserve a closer look
# Copies of radiographs, down to a JPEG quality of 10 and a fifth of the size, reach 0.95 and more; the most
# similar films of two people 0.84.
_EQUAL = 0.9
_SAME_GRAIN = 0.5
_MANY = 20  # pictures; the mean of as many shows what all of them have in common
_PATCH, _REACH = 72, 1.5  # pixels and half width (in sizes of the shape) of a picture aligned to its shape
_ENOUGH = 10  # pictures to determine the direction of y
_CERTAIN = 4.0  # standard errors
_MISFIT = 3.5  # standard deviations


class Pictures:
    """The images of a check, grey and reduced in size.

    Args:
        cases: The records of images. Images that a dataset makes itself are skipped.
        progress: Called with the number of images read and the total number, or None.
        seconds: Time after which no further image is read; None reads all.

    Attributes:
        small: (h, w) float32 by record, within 0..1, longer side 192, turned as viewers show it.
        from_original: (3, 3) stored pixels to those of ``small``, by record.
        problems: Findings about images that cannot be read, or have pixels that are not finite.
    """

    def __init__(self, cases: Cases, progress: Progress | None = None, seconds: float | None = None) -> None:
        end = None if seconds is None else time.monotonic() + seconds
        self.small: dict[int, np.ndarray] = {}
        self.from_original: dict[int, np.ndarray] = {}
        self.problems: list[Finding] = []
        if cases.schema.dims != 2:
            cases.leave_out("what volumes show: copies in other formats, and whether points fit them")
            return
        if any(STORED in record for record in cases.records):
            cases.leave_out("copies in other formats, and whether points fit their images, in shards")
        broken = {(f.split, f.sample_id) for f in cases.problems}
        rows = [
            n
            for n, record in enumerate(cases.records)
            if record["img_path"] is not None
            and "slice" not in record
            and (cases.splits[n], record["sample_id"]) not in broken
        ]
        fills = {split: load_step(dataset).fill_value for split, dataset in cases.datasets.items()}
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            paths = [cases.records[n]["img_path"] for n in rows]
            results = pool.map(self._read, paths, [fills[cases.places[n][0]] for n in rows])
            for done, (n, (picture, check, message)) in enumerate(zip(rows, results, strict=True)):
                if check:
                    self.problems.append(cases.finding(n, check, message))
                if picture is not None:
                    self.small[n], self.from_original[n] = picture
                if progress is not None:
                    progress(done + 1, len(rows))
                if end is not None and time.monotonic() > end and done + 1 < len(rows):
                    pool.shutdown(wait=False, cancel_futures=True)
                    cases.leave_out(
                        f"copies among {len(rows) - done - 1} of {len(rows)} images, for lack of time"
                    )
                    break

    @classmethod
    def _read(cls, path: str, fill_value: float | None) -> tuple[Small | None, str, str]:
        """Return the small picture of a file, None if it cannot be read, and kind and text of a finding."""
        size = (_SIDE // 2, _SIDE // 2)
        try:
            return cls._reduced(read_image(path, size, fill_value)), "", ""
        except (FileNotFoundError, ValueError, ImportError) as error:
            if isinstance(error, NonFinitePixels) or isinstance(error.__cause__, NonFinitePixels):
                return cls._reduced(read_image(path, size, fill_value=0)), "pixels not finite", str(error)
            return None, "broken image", str(error)

    @staticmethod
    def _reduced(image: LoadedImage) -> Small:
        array: np.ndarray = image.array.astype(np.float32)
        array = array.mean(axis=2) if array.ndim == 3 else array
        height, width = array.shape[:2]
        factor = min(1.0, _SIDE / max(height, width))
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        array = cv2.resize(array, size, interpolation=cv2.INTER_AREA)
        low, high = np.percentile(array, (0.5, 99.5))
        small = ((array - low) / max(float(high - low), 1e-6)).clip(0, 1).astype(np.float32)
        return small, resize_matrix((height, width), small.shape) @ image.img_from_original


# ---- copies -----------------------------------------------------------------------------------------


def copies(cases: Cases, small: Mapping[int, np.ndarray]) -> Iterator[Finding]:
    """The same picture in several files whose bytes differ: another format, quality or size.

    Args:
        cases: The records.
        small: Reduced pictures (h, w), or volumes (d, h, w), by record.
    """
    known = [set(members) for members in same_files(cases).values()]
    for group in copied_groups(small):
        if any(set(group) <= members for members in known):
            continue  # the files are equal, which is reported as such
        yield from double_images(cases, "image copy", group)
        if len({role(cases.splits[n]) for n in group}) > 1:
            yield from leak_findings(cases, "image copy leak", "a copy of the same picture", group)


def copied_groups(small: Mapping[int, np.ndarray]) -> list[list[int]]:
    """Return groups of records that show the same picture, saved in another format, quality or size."""
    return _joined(_copied_pairs(small))


def _copied_pairs(small: Mapping[int, np.ndarray]) -> list[tuple[int, int]]:
    rows, pictures = list(small), list(small.values())
    if len(rows) < 2:
        return []
    coarse = _without_common([resized(p, (_COARSE[p.ndim],) * p.ndim) for p in pictures])
    proportions = np.array([np.array(p.shape[1:]) / p.shape[0] for p in pictures])
    candidates: list[tuple[int, int]] = []
    for start in range(0, len(rows), 512):
        alike = coarse[start : start + 512] @ coarse.T > _ALIKE
        ratio = proportions[start : start + 512, None] / proportions
        alike &= ((ratio > 0.97) & (ratio < 1.03)).all(axis=2)
        candidates += [(start + int(a), int(b)) for a, b in np.argwhere(alike) if start + a < b]
    details: dict[int, np.ndarray] = {}
    pairs = []
    for a, b in candidates:
        for row in (a, b):
            if row not in details:
                details[row] = _detail(pictures[row])
        if float((details[a] * details[b]).sum()) > _EQUAL and _same_grain(pictures[a], pictures[b]):
            pairs.append((rows[a], rows[b]))
    return pairs


def _without_common(pictures: list[np.ndarray]) -> np.ndarray:
    """Return (N, P) unit vectors of pictures minus their mean, which images of one pose have in common."""
    vectors = np.stack([p.ravel() for p in pictures]).astype(np.float32)
    vectors = _unit(vectors)
    return _unit(vectors - vectors.mean(axis=0)) if len(vectors) >= _MANY else vectors


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _detail(picture: np.ndarray) -> np.ndarray:
    """Return the fine structure of a picture as a unit array; copies share it, other patients do not."""
    fine = resized(picture, (_FINE[picture.ndim],) * picture.ndim)
    detail = fine - _blurred(fine, 3)
    return _unit(detail.reshape(1, -1)).reshape(detail.shape)


def _same_grain(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two pictures agree in their finest details."""
    size = min(first.shape[::-1], second.shape[::-1])[::-1]
    grains = []
    for picture in (first, second):
        same = resized(picture, size)
        grains.append(_unit((same - _blurred(same, 1.5)).reshape(1, -1)))
    return float((grains[0] * grains[1]).sum()) > _SAME_GRAIN


def resized(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return a picture or volume (*S) at another size, averaged where it shrinks."""
    if picture.ndim == 2:
        return cv2.resize(picture, tuple(size)[::-1], interpolation=cv2.INTER_AREA)
    planes = np.stack([resized(plane, size[1:]).ravel() for plane in picture])
    return resized(planes, (size[0], planes.shape[1])).reshape(size)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    if picture.ndim == 2:
        return cv2.GaussianBlur(picture, (0, 0), sigma)
    return gaussian_filter(picture, sigma)


def _joined(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Return groups of records that are linked by pairs."""
    groups: dict[int, set[int]] = {}
    for a, b in pairs:
        together = groups.get(a, {a}) | groups.get(b, {b})
        for member in together:
            groups[member] = together
    return [sorted(group) for group in {id(g): g for g in groups.values()}.values()]


# ---- do points fit their images? --------------------------------------------------------------------


def points_on_images(cases: Cases, pictures: Pictures) -> Iterator[Finding]:
    """Points that fit the images better when y is flipped, and single images that do not fit their points.

    Every image is rotated, shifted and scaled so that its shape coincides with the typical one. Images with
    correct annotations then look alike.
    """
    rows, given, flipped = _both_directions(cases, pictures)
    if given is None or flipped is None:
        return
    for split in dict.fromkeys(cases.splits):
        members = np.array([cases.splits[n] == split for n in rows])
        gain = (flipped - given)[members]
        certainty = certainty_of(gain)
        if certainty is not None and certainty > _CERTAIN:
            message = (
                f"flipped in y, the points of {np.isfinite(gain).sum()} samples fit their images better "
                f"({certainty:.1f} standard errors)"
            )
            yield cases.whole(split, "y from the bottom", message, score=certainty)
            return
    yield from misfits(cases, rows, given)


def flipped_fits_better(cases: Cases, pictures: Pictures) -> float | None:
    """Return how sure the images are that y counts from the other end.

    Args:
        cases: The records.
        pictures: Those of all or some of them.

    Returns:
        Standard errors: beyond 4, y is upside down; below -4, it is right. None without enough images.
    """
    _, given, flipped = _both_directions(cases, pictures)
    return None if given is None or flipped is None else certainty_of(flipped - given)


def _both_directions(
    cases: Cases, pictures: Pictures
) -> tuple[list[int], np.ndarray | None, np.ndarray | None]:
    """Return rows of records, and how well their images agree, with y as it is and with y flipped."""
    rows = [n for n in pictures.small if np.isfinite(cases.clean[n]).all(axis=1).sum() > cases.schema.dims]
    rows = [n for n in rows if np.isfinite(cases.sizes[n]).all()]
    if len(rows) < _ENOUGH:
        return rows, None, None
    points, sizes = cases.clean[rows], cases.sizes[rows]
    images = [(pictures.small[n], pictures.from_original[n]) for n in rows]
    upside_down = points.copy()
    upside_down[..., 1] = sizes[:, None, 1] - 1 - points[..., 1]  # of the stored rows, as in the annotation
    return rows, _agreement(images, points), _agreement(images, upside_down)


def certainty_of(gain: np.ndarray) -> float | None:
    """Return the mean gain in standard errors, 0 if it is too small to count; None without enough images."""
    gain = gain[np.isfinite(gain)]
    if len(gain) < _ENOUGH:
        return None
    certainty = float(gain.mean() / max(gain.std() / np.sqrt(len(gain)), 1e-6))
    return certainty if abs(gain.mean()) > 0.01 else 0.0


def misfits(cases: Cases, rows: list[int], agreement: np.ndarray) -> Iterator[Finding]:
    """Yield the records among ``rows`` whose agreement with the others is far below the usual one."""
    middle = np.nanmedian(agreement)
    below = middle - agreement[agreement < middle]
    if len(below) < _ENOUGH:
        return
    scores = (middle - agreement) / max(1.4826 * float(np.median(below)), 0.02)
    for row in np.flatnonzero(scores > _MISFIT):
        message = (
            f"around its points it does not look like the others ({scores[row]:.1f} standard deviations)"
        )
        yield cases.finding(rows[row], "image does not fit", message, score=float(scores[row]))


def _agreement(images: list[Small], points: np.ndarray) -> np.ndarray | None:
    """Return (N,) correlations of every image, aligned to the typical shape, with the mean of the others."""
    typical = find_typical_of_some(points)
    if typical is None:
        return None
    plain, other = both_sides(points, typical)
    with np.errstate(invalid="ignore"):
        sides = other.residuals < plain.residuals
    grid = np.linspace(-_REACH, _REACH, _PATCH)
    places = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    patches = np.empty((len(images), _PATCH * _PATCH), np.float32)
    for n, (image, from_original) in enumerate(images):
        pose, flip = (other, True) if sides[n] else (plain, False)
        original = places @ pose.rotations[n].T * pose.scales[n] + pose.centers[n]
        original = mirror_image(original) if flip else original
        place = apply_matrix(from_original, original)
        x, y = (place[:, i].reshape(_PATCH, _PATCH).astype(np.float32) for i in (0, 1))
        patch = cv2.remap(
            image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan")
        )
        patches[n] = structure_of(patch, 4).ravel()
    return with_the_others(patches)


def structure_of(patch: np.ndarray, sigma: float) -> np.ndarray:
    """Return a patch (*S) without slow changes of brightness and contrast; NaN, where no image is, stays NaN.

    Args:
        patch: Of an image or a volume.
        sigma: Pixels over which brightness and contrast are evened out.
    """
    inside = np.isfinite(patch).astype(np.float32)
    weight = np.maximum(_blurred(inside, sigma), 1e-3)

    def smooth(values: np.ndarray) -> np.ndarray:
        return _blurred(np.nan_to_num(values), sigma) / weight

    detail = patch - smooth(patch)
    return detail / (np.sqrt(smooth(detail**2)) + 0.02)


def with_the_others(patches: np.ndarray) -> np.ndarray:
    """Return (N,) correlations of patches (N, P) with the mean of the others, NaN outside, as Fisher's z."""
    inside = np.isfinite(patches)
    values = np.nan_to_num(patches)
    total, count = values.sum(axis=0), inside.sum(axis=0)
    result = np.full(len(patches), np.nan)
    for n in range(len(patches)):
        rest = count - inside[n]
        used = inside[n] & (rest > len(patches) // 3)
        if used.sum() > 0.05 * used.size:
            mean = (total - values[n])[used] / rest[used]
            own = values[n][used]
            if own.std() > 0 and mean.std() > 0:
                result[n] = np.arctanh(np.clip(np.corrcoef(own, mean)[0, 1], -0.99, 0.99))
    return result
