"""How much of what images show is found again in one of them, and which few show most of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

_RETURN = 0.03  # of the sides: how near to a point the way back has to end


@dataclass(frozen=True)
class DescribedImage:
    """Points of an image, and what it looks like at them.

    Attributes:
        sample_id: Its name.
        points: (P, D) pixels of the original image, (x, y[, z]).
        places: (P, D) the same points as fractions of the sides.
        vectors: Levels (P, C) of features of the points, of length one.
    """

    sample_id: str
    points: np.ndarray
    places: np.ndarray
    vectors: tuple[np.ndarray, ...]


def found_again(
    images: Sequence[DescribedImage], reach: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return which points of all images are found in each of them.

    The similarity of two points is the product over the levels of the cosine of their features, cut to 0..1,
    as in the maps of :class:`~mmlandmark.models.heads.TemplateHead`. A point is found if the most similar
    point of the other image, looked for in its own image, leads back to it.

    Args:
        images: T images; one without points shows nothing of the others.
        reach: Only points are compared whose places differ by at most this, as a fraction of the sides.

    Returns:
        (T, U) bool, True for an image's own points, of the U points of all images, in their order; and (U,)
        which image a point belongs to.
    """
    owner = np.repeat(np.arange(len(images)), [len(image.points) for image in images])
    parts = [np.flatnonzero(owner == index) for index in range(len(images))]
    found = owner == np.arange(len(images))[:, None]
    for (i, one), (j, other) in combinations(enumerate(images), 2):
        if len(one.points) and len(other.points):
            similar = _similarities(one, other, reach)
            there, back = similar.argmax(1), similar.argmax(0)
            found[j, parts[i]] = _returns(one.places, there, back) & (similar.max(1) > 0)
            found[i, parts[j]] = _returns(other.places, back, there) & (similar.max(0) > 0)
    return found, owner


def _similarities(one: DescribedImage, other: DescribedImage, reach: float | None) -> np.ndarray:
    """Return (P, Q) similarities of the points of two images."""
    product = np.ones((len(one.points), len(other.points)), dtype=np.float32)
    for a, b in zip(one.vectors, other.vectors, strict=True):
        product *= np.clip(a @ b.T, 0, 1)
    if reach is not None:
        product[np.linalg.norm(one.places[:, None] - other.places, axis=2) > reach] = 0
    return product


def _returns(places: np.ndarray, there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return (P,) bool: the way to another image and back ends where it began."""
    return np.linalg.norm(places - places[back[there]], axis=1) <= _RETURN


def image_means(values: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Return the mean (T,) over the points of every image; 0 for one without points.

    Args:
        values: (U,) one number per point.
        owner: (U,) which image a point belongs to.
        count: T.
    """
    sums = np.bincount(owner, weights=values, minlength=count)
    return sums / np.maximum(np.bincount(owner, minlength=count), 1)


@dataclass(frozen=True)
class Choice:
    """Images to annotate.

    Attributes:
        chosen: Indices of the images, in the order in which they were chosen.
        coverage: Of each, the part of the other images' points that are found in it or in those before it.
        alone: (T,) the same of every image by itself.
        of_images: (T,) the part of every image's points that are found in what is chosen, NaN for the chosen
            ones.
    """

    chosen: tuple[int, ...]
    coverage: tuple[float, ...]
    alone: np.ndarray
    of_images: np.ndarray


def choose_images(found: np.ndarray, owner: np.ndarray, number: int, given: Sequence[int] = ()) -> Choice:
    """Choose images one by one, each time the one with which most points of all are found.

    A point counts if it is found in any chosen image, every image as much as any other. What is gained falls
    with every further image, so that choosing one by one reaches at least 63 % of the best choice (Nemhauser
    et al. 1978).

    Args:
        found: (T, U) of :func:`found_again`.
        owner: (U,) likewise.
        number: Of images to choose, with those that are given; less than T.
        given: Indices of images that are chosen before, the first ones of the choice.

    Raises:
        ValueError: There are too few images, or one is given twice.
    """
    count = len(found)
    if not 0 < number < count:
        raise ValueError(
            f"{number} of {count} images cannot be chosen: give more images than templates, and at least one"
        )
    if len(given) > number:
        raise ValueError(f"{len(given)} images are given, and {number} are to be chosen with them")
    if len(set(given)) < len(given):
        raise ValueError("an image is given twice")
    means = np.stack([image_means(row, owner, count) for row in found])
    alone = (means.sum(1) - means.diagonal()) / (count - 1)
    best = np.zeros(found.shape[1], dtype=found.dtype)
    chosen: list[int] = []
    coverage = []
    for place in range(number):
        gains = np.array([image_means(np.maximum(best, row), owner, count).sum() for row in found])
        gains[chosen] = -np.inf
        chosen.append(given[place] if place < len(given) else int(gains.argmax()))
        best = np.maximum(best, found[chosen[-1]])
        of_images = image_means(best, owner, count)
        of_images[chosen] = np.nan
        coverage.append(float(np.nanmean(of_images)))
    return Choice(tuple(chosen), tuple(coverage), alone, of_images)
