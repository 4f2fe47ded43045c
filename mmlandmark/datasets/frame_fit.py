"""Points in millimetres or pixels, and whether they fit the image that they are said to belong to.

Points in another frame than their file says are common: LPS taken for RAS, voxels for millimetres, the order
of an array for (x, y, z). Where most points of a case lie outside of its image, the other readings of the
same numbers are tried, and the message says which one puts them inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mmlandmark.structures import apply_matrix, original_from_world, spacing_of

Coordinates = Literal["pixels", "LPS", "RAS"]  # what the numbers of a file are
COORDINATES: tuple[Coordinates, ...] = get_args(Coordinates)

_MOST = 0.5  # of the points of a case: if more are outside, they are not in this frame


def to_pixels(points: np.ndarray, frame: np.ndarray | None, coordinates: Coordinates) -> np.ndarray:
    """Return points as (K, D) pixels of their image, as it is stored.

    Args:
        points: (K, W) numbers of a file; of 3D points, an image in its own plane takes x and y.
        frame: (W+1, D+1) pixels to mm in LPS of the image; pixels need none.
        coordinates: What the numbers are.

    Raises:
        ValueError: The image has no frame, or the points have fewer coordinates than its world.

    Example:
        >>> frame = np.diag([0.5, 0.5, 2, 1]) + np.eye(4, k=3) * 10  # x begins at 10 mm
        >>> to_pixels(np.array([[-11.0, -3, 4]]), frame, "RAS").tolist()
        [[2.0, 6.0, 2.0]]
    """
    if coordinates == "pixels":
        return points
    if frame is None:
        raise ValueError(
            "the image does not say where its pixels lie in mm, so points in mm have no place in it: store "
            "it in a format with spacing and origin, such as NIfTI or NRRD, or annotate in pixels"
        )
    dims = len(frame) - 1
    if points.shape[1] < dims:
        raise ValueError(f"points of {points.shape[1]} coordinates have no place in a world of {dims}")
    places = points[:, :dims] * _signs(coordinates, dims)
    return apply_matrix(original_from_world(frame), places)


def misfit(
    points: np.ndarray, shape: Sequence[int], frame: np.ndarray | None, coordinates: Coordinates
) -> str:
    """Return a sentence if most points lie outside of their image, empty if they fit.

    Args:
        points: (K, W) numbers of a file, NaN where missing.
        shape: (*S) of the image.
        frame: (W+1, D+1) pixels to mm in LPS of the image, None if it is unknown.
        coordinates: What the numbers are said to be.

    Example:
        >>> frame = np.diag([0.5, 0.5, 2, 1])
        >>> misfit(np.array([[-1.0, -2, 3], [-4, -4, 9]]), (10, 20, 30), frame, "LPS")
        'all 2 points lie outside of the image; negating x and y puts them inside: RAS?'
    """
    found = points[np.isfinite(points).all(axis=1)]
    outside = count_outside(to_pixels(found, frame, coordinates), shape)
    if outside <= _MOST * len(found):
        return ""
    much = f"all {outside} points lie" if outside == len(found) else f"{outside} of {len(found)} points lie"
    return f"{much} outside of the image{likely_reading(found, shape, frame, coordinates)}"


def unstated_frame(image: str | Path, assumed: str) -> str:
    """Return the end of a sentence about points that do not fit an image whose file does not say its frame.

    Args:
        image: The file.
        assumed: See :class:`~mmlandmark.datasets.image_files.ImageHeader`; of ``""`` nothing is said.
    """
    if not assumed:
        return ""
    return (
        f"; {Path(image).name} {assumed}: store there the orientation in which the points were set, or give "
        "the points in voxels"
    )


def likely_reading(
    points: np.ndarray, shape: Sequence[int], frame: np.ndarray | None, coordinates: Coordinates
) -> str:
    """Return which other reading of (K, W) numbers puts them into the image, as the end of a sentence."""
    found = points[np.isfinite(points).all(axis=1)]
    best, sentence = int(_MOST * len(found)), ""
    for change, name, pixels in _other_readings(found, frame, coordinates, len(shape)):
        inside = len(found) - count_outside(pixels, shape)
        if inside > best:
            them = "them" if inside == len(found) else f"{inside} of {len(found)}"
            best, sentence = inside, f"; {change} puts {them} inside: {name}?"
    return sentence


def inside_by_reading(points: np.ndarray, shape: Sequence[int], frame: np.ndarray | None) -> dict[str, int]:
    """Return how many of (K, W) points lie inside of an image for each meaning of their numbers."""
    found = points[np.isfinite(points).all(axis=1)]
    known = COORDINATES if frame is not None else COORDINATES[:1]
    return {name: len(found) - count_outside(to_pixels(found, frame, name), shape) for name in known}


def count_outside(pixels: np.ndarray, shape: Sequence[int]) -> int:
    """Return how many of (K, D) points are outside of an image of (*S) pixels."""
    pixels = pixels[:, : len(shape)]
    return int(((pixels < -0.5) | (pixels > np.array(shape[::-1]) - 0.5)).any(axis=1).sum())


def _signs(coordinates: Coordinates, dims: int) -> np.ndarray:
    """Return the (W,) factors from a system to LPS; an image in its own plane has no patient to turn."""
    return np.array([-1.0, -1.0, 1.0]) if coordinates == "RAS" and dims == 3 else np.ones(dims)


def _other_readings(
    points: np.ndarray, frame: np.ndarray | None, coordinates: Coordinates, dims: int
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield what to do with the numbers, what they would be, and the (K, D) pixels; likely ones first."""
    order = "z, y, x" if dims == 3 else "y, x"
    if frame is not None and coordinates != "pixels" and len(frame) == 4:
        other: Coordinates = "RAS" if coordinates == "LPS" else "LPS"
        yield "negating x and y", other, to_pixels(points, frame, other)
    if coordinates != "pixels":
        yield "taking them as pixels", "pixels rather than mm", points[:, :dims]
    if frame is not None and coordinates == "pixels" and points.shape[1] >= len(frame) - 1:
        yield "taking them as mm", "LPS" if len(frame) == 4 else "mm", to_pixels(points, frame, "LPS")
        if len(frame) == 4:
            yield "taking them as mm with x and y negated", "RAS", to_pixels(points, frame, "RAS")
    if frame is not None:
        steps = np.array(spacing_of(frame))
        yield "counting mm from the first pixel", "mm without the origin", points[:, :dims] / steps
    yield f"reading them as {order}", "array order", points[:, :dims][:, ::-1]
    if frame is not None and coordinates != "pixels":
        turned = points[:, : len(frame) - 1][:, ::-1]
        yield (
            f"reading them as mm in the order {order}",
            "array order",
            to_pixels(turned, frame, coordinates),
        )
