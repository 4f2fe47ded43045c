"""Whether two ways to run a detector say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmlandmark.inference.export.formats import Run

# Sizes of the batches in which images are run, in turns: a file must take any.
_BATCHES = (1, 3)


@dataclass(frozen=True)
class Difference:
    """How far the answers of two ways to run a detector lie apart, over all landmarks of all images.

    Attributes:
        images: Number of images.
        median: Median distance of the points, in pixels of the input.
        mean: Mean distance.
        largest: Largest distance.
        scores: Largest difference of a score.
        unlike: Landmarks that one finds and the other does not.
    """

    images: int
    median: float
    mean: float
    largest: float
    scores: float
    unlike: int

    def __str__(self) -> str:
        return (
            f"points of {self.images} images differ by {self.median:.2g} px in the median, {self.mean:.2g} "
            f"on average, {self.largest:.2g} at most; scores by {self.scores:.2g} at most"
            + (f"; {self.unlike} landmarks are found by one of the two only" if self.unlike else "")
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def answers(run: Run, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a way to run a detector answers to images, one after the other in batches of several sizes.

    Args:
        run: From images (B, C, *S) to outputs by name.
        images: (C, *S) float32 each, of one shape.

    Raises:
        ValueError: There are no images.
    """
    if not images:
        raise ValueError("there is no image to run")
    parts: list[Mapping[str, np.ndarray]] = []
    done = 0
    while done < len(images):
        size = _BATCHES[len(parts) % len(_BATCHES)]
        parts.append(run(np.stack(images[done : done + size])))
        done += size
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def difference(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> Difference:
    """Compare two answers.

    Args:
        one: ``points`` (N, K, D) pixels and ``scores`` (N, K).
        other: Of the same images.

    Raises:
        ValueError: They have other shapes, or no landmark is found by both.

    Example:
        >>> points = np.zeros((2, 3, 2), np.float32)
        >>> one = dict(points=points, scores=np.ones((2, 3)))
        >>> print(difference(one, dict(one, points=points + [3.0, 4.0])))
        points of 2 images differ by 5 px in the median, 5 on average, 5 at most; scores by 0 at most
    """
    shapes = [{name: np.shape(value) for name, value in each.items()} for each in (one, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the answers have other shapes: {shapes[0]} and {shapes[1]}")
    found = [np.isfinite(each["points"]).all(-1) for each in (one, other)]
    both = found[0] & found[1]
    if not both.any():
        raise ValueError("no landmark is found by both: nothing can be compared")
    distances = np.linalg.norm(one["points"].astype(float) - other["points"], axis=-1)[both]
    return Difference(
        images=len(both),
        median=float(np.median(distances)),
        mean=float(distances.mean()),
        largest=float(distances.max()),
        scores=float(np.abs(one["scores"].astype(float) - other["scores"]).max()),
        unlike=int((found[0] != found[1]).sum()),
    )
