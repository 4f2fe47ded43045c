"""The typical shape of a data set in its own size and orientation: a frame in which all cases lie alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmlandmark.shape.alignment import Sides, find_typical, mean_rotation

_FLAT = 4  # a shortest side of less than the longest one's fourth counts as that


@dataclass(frozen=True)
class TypicalShape:
    """A complete shape, centred.

    Attributes:
        points: (K, D), of the median size and, where cases are oriented alike, as most of them are.
        millimetres: Whether the unit is mm, and the axes those of the patient; else they are original pixels.
    """

    points: np.ndarray
    millimetres: bool

    @classmethod
    def of(cls, points: np.ndarray, steps: np.ndarray | None) -> TypicalShape:
        """Return the typical one of annotated shapes.

        Args:
            points: (N, K, D) original pixels, NaN where missing.
            steps: (N, D, D) from steps in pixels to steps in mm, see :func:`mmlandmark.structures.mm_steps`,
                or None if they are not known of all of them.

        Raises:
            ValueError: A landmark is in no shape, no shape has more than D landmarks, or many are mirror
                images of the others. Single mirror images do not count.
        """
        points = np.asarray(points, dtype=np.float64)
        placed = points if steps is None else np.einsum("nij,nkj->nki", steps, points)
        typical = find_typical(placed) if len(placed) else None
        if typical is None:
            never = np.flatnonzero(np.isnan(placed).any(2).all(0))
            raise ValueError(
                f"a typical shape needs every landmark in some case, and cases of more than "
                f"{points.shape[2]} landmarks; of {len(points)} cases "
                + (f"none has landmark {never[0]}" if len(never) else "none has so many")
            )
        sides = Sides.find(placed, typical)
        if sides.usual:
            raise ValueError(
                f"{sides.mirrored.sum()} of {len(points)} cases are mirror images of the others, which no "
                "rotation turns into one pose: train on those of one side"
            )
        usable = sides.scored & ~sides.mirrored
        rotation = mean_rotation(sides.plain.rotations[usable])
        return cls(sides.typical @ rotation.T * np.median(sides.plain.scales[usable]), steps is not None)

    def frame(self, pixel: float, margin: float) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return a frame about the shape.

        Args:
            pixel: Length of its pixels in the unit of the shape.
            margin: Space around the landmarks, as a fraction of the shape's shortest side. Of a shape that
                is flat, as landmarks of one plane are, it is a fraction of a quarter of the longest side.

        Returns:
            (D+1, D+1) matrix from the shape to pixels of the frame, and the (*S) size of the frame.
        """
        first, last = self.points.min(0), self.points.max(0)
        sides = last - first
        space = margin * max(sides.min(), sides.max() / _FLAT)
        dims = len(first)
        matrix = np.eye(dims + 1)
        matrix[:dims, :dims] /= pixel
        matrix[:dims, dims] = (space - first) / pixel
        size = np.ceil((last - first + 2 * space) / pixel).astype(int) + 1
        return matrix, tuple(size[::-1].tolist())
