"""How much of what images show is found again in one of them, and which few show most of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

_AT_ONCE = 2**25  # similarities that are held at a time


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


def similarities(
    images: Sequence[DescribedImage], reach: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return how well every point of all images is found in each of them.

    The similarity of two points is the product over the levels of the cosine of their features, cut to 0..1,
    as in the maps of :class:`~mmlandmark.models.heads.TemplateHead`. A point is found as well as the most
    similar point of the other image is like it.

    Args:
        images: T images; one without points shows nothing of the others.
        reach: Only points count whose places differ by at most this, as a fraction of the sides.

    Returns:
        (T, U) similarities of the U points of all images, in their order, 1 for an image's own; and (U,)
        which image a point belongs to.
    """
    owner = np.repeat(np.arange(len(images)), [len(image.points) for image in images])
    places = torch.from_numpy(np.concatenate([image.places for image in images])).float()
    stacked = [
        torch.from_numpy(np.concatenate(level)).float()
        for level in zip(*(image.vectors for image in images), strict=True)
    ]
    found = np.zeros((len(images), len(owner)), dtype=np.float32)
    for row, image in zip(found, images, strict=True):
        own = [torch.from_numpy(level).float() for level in image.vectors]
        count = len(image.points)
        for first in range(0, len(owner) if count else 0, step := max(1, _AT_ONCE // max(count, 1))):
            part = slice(first, first + step)
            product = torch.ones(len(owner[part]), count)
            for level, vectors in zip(stacked, own, strict=True):
                product *= (level[part] @ vectors.T).clamp(0, 1)
            if reach is not None:
                near = torch.cdist(places[part], torch.from_numpy(image.places).float()) <= reach
                product *= near
            row[part] = product.amax(1).numpy()
    found[owner, np.arange(len(owner))] = 1
    return found, owner


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
        coverage: Of each, the mean similarity of the other images' points when it and those before it are
            annotated.
        alone: (T,) the same of every image, if it alone is annotated.
        of_images: (T,) similarity of every image's points to what is chosen, NaN for the chosen ones.
    """

    chosen: tuple[int, ...]
    coverage: tuple[float, ...]
    alone: np.ndarray
    of_images: np.ndarray


def choose_images(found: np.ndarray, owner: np.ndarray, number: int) -> Choice:
    """Choose images one by one, each time the one with which the points of all are found best.

    A point counts by the most similar of all chosen images, every image as much as any other. What is gained
    falls with every further image, so that choosing one by one reaches at least 63 % of the best choice
    (Nemhauser et al. 1978).

    Args:
        found: (T, U) of :func:`similarities`.
        owner: (U,) likewise.
        number: Of images to choose, less than T.

    Raises:
        ValueError: There are too few images.
    """
    count = len(found)
    if not 0 < number < count:
        raise ValueError(
            f"{number} of {count} images cannot be chosen: give more images than templates, and at least one"
        )
    means = np.stack([image_means(row, owner, count) for row in found])
    alone = (means.sum(1) - means.diagonal()) / (count - 1)
    best = np.zeros(found.shape[1], dtype=found.dtype)
    chosen: list[int] = []
    coverage = []
    for _ in range(number):
        gains = np.array([image_means(np.maximum(best, row), owner, count).sum() for row in found])
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, found[chosen[-1]])
        of_images = image_means(best, owner, count)
        of_images[chosen] = np.nan
        coverage.append(float(np.nanmean(of_images)))
    return Choice(tuple(chosen), tuple(coverage), alone, of_images)
