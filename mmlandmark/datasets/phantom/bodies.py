"""Bodies in three dimensions, in millimetres, and how voxels are filled with them.

Voxels pass through additions, multiplications, divisions and square roots of float32 only, which IEEE 754
defines to the last bit, so one seed gives the same volume on every processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the axes, perhaps with a part cut off.

    Attributes:
        value: Hounsfield units (HU) of its material.
        center: (3,) mm.
        radii: (3,) mm.
        above: (4,) a, b, c, d: only the part where a x + b y + c z > d counts; (a, b, c) has length 1.
    """

    value: float
    center: Sequence[float] | np.ndarray
    radii: Sequence[float] | np.ndarray
    above: Sequence[float] | None = None

    def bounds(self) -> np.ndarray:
        """Return the (2, 3) lowest and highest corner of a box around it, mm."""
        center, radii = np.asarray(self.center, dtype=np.float64), np.asarray(self.radii, dtype=np.float64)
        return np.stack([center - radii, center + radii])

    def depth(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return how far points lie below the surface, mm, near it to first order; negative outside."""
        squares: np.ndarray | float = 0.0
        slopes: np.ndarray | float = 0.0
        for values, middle, radius in zip((x, y, z), self.center, self.radii, strict=True):
            scaled = (values - np.float32(middle)) * np.float32(1 / radius)
            square = scaled * scaled
            squares = squares + square
            slopes = slopes + square * np.float32(1 / radius**2)
        level = np.sqrt(squares)
        # At the very centre both vanish, and the depth is the least radius.
        little, least = np.float32(1e-4), np.float32(1e-4 / min(self.radii))
        depth = (level + little) * (1 - level) / (np.sqrt(slopes) + least)
        if self.above is not None:
            a, b, c, d = (np.float32(number) for number in self.above)
            depth = np.minimum(depth, a * x + b * y + c * z - d)
        return depth


@dataclass(frozen=True)
class Capsule:
    """A rod with round ends, whose radius changes evenly along it.

    Attributes:
        value: Hounsfield units (HU) of its material.
        start: (3,) mm.
        end: (3,) mm.
        radii: Radius at the start and at the end, mm.
    """

    value: float
    start: Sequence[float] | np.ndarray
    end: Sequence[float] | np.ndarray
    radii: tuple[float, float]

    def bounds(self) -> np.ndarray:
        """Return the (2, 3) lowest and highest corner of a box around it, mm."""
        ends = np.array([self.start, self.end], dtype=np.float64)
        radii = np.array(self.radii)[:, None]
        return np.stack([(ends - radii).min(axis=0), (ends + radii).max(axis=0)])

    def depth(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return how far points lie below the surface, mm; negative outside."""
        start, end = np.asarray(self.start, dtype=np.float64), np.asarray(self.end, dtype=np.float64)
        axis = end - start
        length = max(float((axis**2).sum()), 1e-6)
        offsets = [v - np.float32(s) for v, s in zip((x, y, z), start, strict=True)]
        along: np.ndarray | float = 0.0
        for offset, step in zip(offsets, axis / length, strict=True):
            along = along + offset * np.float32(step)
        along = np.clip(along, 0, 1, dtype=np.float32)
        squares: np.ndarray | float = 0.0
        for offset, step in zip(offsets, axis, strict=True):
            rest = offset - along * np.float32(step)
            squares = squares + rest * rest
        first, last = self.radii
        return np.float32(first) + along * np.float32(last - first) - np.sqrt(squares)


Body = Ellipsoid | Capsule


def tube(value: float, points: Sequence | np.ndarray, radius: float | Sequence[float]) -> list[Capsule]:
    """Return capsules along a line.

    Args:
        value: HU.
        points: (N, 3) mm.
        radius: One for all points, or one per point, mm.
    """
    radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(points)).tolist()
    ends = pairwise(zip(points, radii, strict=True))
    return [Capsule(value, start, end, (first, last)) for (start, first), (end, last) in ends]


def fill(
    volume: np.ndarray, places: Sequence[np.ndarray], bodies: Sequence[Body], boxes: np.ndarray, edge: float
) -> None:
    """Fill bodies into a volume, one after the other; a later one replaces what lies below it.

    Args:
        volume: (*S) float32 HU, changed in place.
        places: x, y and z of every voxel in the frame of the bodies, (*S) float32 each, mm.
        bodies: N bodies.
        boxes: (N, 2, 3) first voxel of every body and the one after its last, (z, y, x).
        edge: Width over which a surface fades, mm: a voxel at the surface belongs to both sides.
    """
    for body, (first, last) in zip(bodies, boxes, strict=True):
        if (first >= last).any():
            continue
        window = tuple(slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True))
        part = body.depth(*(axis[window] for axis in places))
        part *= np.float32(1 / edge)
        part += np.float32(0.5)
        np.clip(part, 0, 1, out=part)
        part *= np.float32(body.value) - volume[window]
        volume[window] += part
