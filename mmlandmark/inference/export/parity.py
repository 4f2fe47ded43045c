"""Whether two ways to run a detector say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmlandmark.inference.export.formats import Run

# Sizes of the batches in which images are run, in turns: a file must take any.
_BATCHES = (1, 3)


# A quantile as high as this lets one landmark in a hundred fall to another peak of nearly the same height.
_HIGH = 0.99


@dataclass(frozen=True)
class Difference:
    """How far the answers of two ways to run a detector lie apart, over all landmarks of all images.

    Attributes:
        images: Number of images.
        median: Median distance of the points, in pixels of the input.
        mean: Mean distance.
        high: 99 % quantile of the distance.
        largest: Largest distance.
        scores: Largest difference of a score.
        spread: 99 % quantile of the difference of two covariances, relative to the second one: Frobenius
            norms, where one below 1 px^2 counts as 1; None if there are none.
        presence: Largest difference of a presence; None if there are none.
        unlike: Landmarks for which one gives a position, score, spread or presence and the other does not.
    """

    images: int
    median: float
    mean: float
    high: float
    largest: float
    scores: float
    spread: float | None
    presence: float | None
    unlike: int

    def __str__(self) -> str:
        parts = [
            f"points of {self.images} images differ by {self.median:.2g} px in the median, {self.mean:.2g} "
            f"on average, up to {self.high:.2g} in 99 %, {self.largest:.2g} at most",
            f"scores by {self.scores:.2g} at most",
        ]
        if self.spread is not None:
            parts.append(f"spread by up to {self.spread:.2g} of its size in 99 %")
        if self.presence is not None:
            parts.append(f"presence by {self.presence:.2g} at most")
        if self.unlike:
            parts.append(f"{self.unlike} landmarks are found by one of the two only")
        return "; ".join(parts)

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
        one: ``points`` (N, K, D) pixels, ``scores`` (N, K), and where a detector has them ``spread``
            (N, K, D, D) and ``presence`` (N, K).
        other: Of the same images.

    Raises:
        ValueError: They have other outputs or shapes, or no landmark is found by both.

    Example:
        >>> points = np.zeros((2, 3, 2), np.float32)
        >>> one = dict(points=points, scores=np.ones((2, 3)))
        >>> found = difference(one, dict(one, points=points + [3.0, 4.0]))
        >>> found.median, found.largest, found.scores
        (5.0, 5.0, 0.0)
    """
    shapes = [{name: np.shape(value) for name, value in each.items()} for each in (one, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the answers have other shapes: {shapes[0]} and {shapes[1]}")
    known = [{name: _finite(value) for name, value in each.items()} for each in (one, other)]
    both = {name: known[0][name] & known[1][name] for name in one}
    if not both["points"].any():
        raise ValueError("no landmark is found by both: nothing can be compared")
    first, second = (
        {name: value[both[name]].astype(float) for name, value in each.items()} for each in (one, other)
    )
    distances = np.linalg.norm(first["points"] - second["points"], axis=-1)
    return Difference(
        images=len(both["points"]),
        median=float(np.median(distances)),
        mean=float(distances.mean()),
        high=float(np.quantile(distances, _HIGH)),
        largest=float(distances.max()),
        scores=_largest(first["scores"] - second["scores"]),
        spread=_relative(first["spread"], second["spread"]) if "spread" in one else None,
        presence=_largest(first["presence"] - second["presence"]) if "presence" in one else None,
        unlike=int(np.any([known[0][name] != known[1][name] for name in one], axis=0).sum()),
    )


def _finite(value: np.ndarray) -> np.ndarray:
    """Return (N, K): whether all numbers of a landmark are finite."""
    return np.isfinite(value.reshape(*value.shape[:2], -1)).all(-1)


def _largest(differences: np.ndarray) -> float:
    return float(np.abs(differences).max(initial=0.0))


def _relative(one: np.ndarray, other: np.ndarray) -> float:
    """Return the 99 % quantile of the relative difference of covariances (M, D, D)."""
    if not len(one):
        return 0.0
    sizes = np.maximum(np.linalg.norm(other, axis=(1, 2)), 1.0)
    return float(np.quantile(np.linalg.norm(one - other, axis=(1, 2)) / sizes, _HIGH))
