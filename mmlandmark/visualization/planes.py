"""Planes of a volume as pictures: projections, slices, and the directions of the patient at their edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmlandmark.structures import apply_matrix, direction_letters, invert_matrix, resize_matrix
from mmlandmark.visualization import style
from mmlandmark.visualization.pen import Pen

PLANES = ("sagittal", "coronal", "axial")  # along x, y and z
_SAMPLED = 1 << 20  # voxels are enough for percentiles


def flatten(array: np.ndarray, axis: int = 2, at: float | None = None) -> np.ndarray:
    """Return a projection or slice of a volume along a coordinate axis; an image is returned unchanged.

    Args:
        array: (*S) image or volume.
        axis: Coordinate to look along: 0 is x, 1 is y, 2 is z.
        at: Voxel coordinate of the slice; the default is the maximum projection.

    Returns:
        (H, W), with the remaining coordinates as x and y, in their order.

    Raises:
        ValueError: The array is neither an image nor a volume, or the axis does not exist.
    """
    array = np.asarray(array)
    if array.ndim == 2:
        return array
    if array.ndim != 3 or axis not in (0, 1, 2):
        raise ValueError(f"expected (H, W) or (depth, H, W) and an axis 0, 1 or 2, got {array.shape}, {axis}")
    along = 2 - axis  # arrays are indexed (z, y, x)
    if at is None:
        return array.max(axis=along)
    return array.take(int(np.clip(round(at), 0, array.shape[along] - 1)), axis=along)


def window_of(volume: np.ndarray) -> tuple[float, float]:
    """Return the (black, white) of all slices of a volume: the 0.5th and 99.5th percentile of its voxels."""
    step = max(1, round((volume.size / _SAMPLED) ** (1 / 3)))
    return style.percentile_window(np.asarray(volume[::step, ::step, ::step], dtype=np.float32))


@dataclass(frozen=True)
class View:
    """A canvas on which a volume is seen along one of its axes.

    Attributes:
        axis: Coordinate to look along: 0 is x, 1 is y, 2 is z.
        size: (height, width) of the canvas in pixels.
        canvas_from_plane: (3, 3) from the two remaining coordinates, in voxels, to pixels of the canvas.
        letters: Directions of the patient at the left, right, upper and lower edge; empty if unknown.
    """

    axis: int
    size: tuple[int, int]
    canvas_from_plane: np.ndarray
    letters: tuple[str, ...] = ()

    @classmethod
    def whole(
        cls, shape: Sequence[int], axis: int, pixels_per_voxel: np.ndarray, world: np.ndarray | None
    ) -> View:
        """Return the view of a whole volume.

        Args:
            shape: (*S) of the volume.
            axis: Coordinate to look along.
            pixels_per_voxel: (3,) of the canvas, (x, y, z).
            world: (4, 4) voxels to mm in LPS; with it, the head is up.
        """
        across, down = (int(shape[2 - i]) for i in range(3) if i != axis)
        factor = np.delete(pixels_per_voxel, axis)
        size = (max(round(down * factor[1]), 1), max(round(across * factor[0]), 1))
        return cls(axis, size, resize_matrix((down, across), size))._upright(world)

    @classmethod
    def around(
        cls, center: np.ndarray, axis: int, pixels_per_voxel: np.ndarray, side: int, world: np.ndarray | None
    ) -> View:
        """Return the view of ``side`` pixels around a voxel (3,); see :meth:`whole`."""
        matrix = np.eye(3)
        matrix[[0, 1], [0, 1]] = np.delete(pixels_per_voxel, axis)
        matrix[:2, 2] = (side - 1) / 2 - matrix[:2, :2] @ np.delete(center, axis)
        return cls(axis, (side, side), matrix)._upright(world)

    def _upright(self, world: np.ndarray | None) -> View:
        """Turn z up, as radiologists see it, and find the letters of the edges."""
        if world is None:
            return self
        matrix, across, down = self.canvas_from_plane, *(i for i in range(3) if i != self.axis)
        below = world[:3, down]
        if down == 2:
            turned = np.array([[1.0, 0, 0], [0, -1, self.size[0] - 1], [0, 0, 1]])
            matrix, below = turned @ matrix, -below
        right = world[:3, across]
        letters = tuple(map(direction_letters, (-right, right, -below, below)))
        return View(self.axis, self.size, matrix, letters)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Return the (K, 2) pixels of the canvas of (K, 3) voxels."""
        return apply_matrix(self.canvas_from_plane, np.delete(points, self.axis, axis=1))

    def shadows(self, regions: np.ndarray) -> np.ndarray:
        """Return the (K, 2, 2) projections of ellipsoids (K, 3, 3) in voxels^2 on the canvas."""
        kept, linear = [i for i in range(3) if i != self.axis], self.canvas_from_plane[:2, :2]
        return linear @ np.asarray(regions, dtype=np.float64)[:, kept][:, :, kept] @ linear.T

    def picture(self, plane: np.ndarray, window: tuple[float, float] | None = None) -> np.ndarray:
        """Return a plane (H, W) of the volume on the canvas, (height, width, 3) uint8; outside is black."""
        return self.warped(style.to_rgb(plane, window))

    def warped(self, plane: np.ndarray) -> np.ndarray:
        """Return a plane (H, W) or (H, W, C), uint8 or float32, in pixels of the canvas."""
        import cv2

        factor = np.abs(np.diag(self.canvas_from_plane)[:2])
        blur = [0.5 / f if f < 0.7 else 0.0 for f in factor]  # pixels that shrink are averaged
        if any(blur):
            sides = [2 * round(2 * sigma) + 1 for sigma in blur]
            plane = cv2.GaussianBlur(plane, sides, sigmaX=max(blur[0], 0.01), sigmaY=max(blur[1], 0.01))
        height, width = self.size
        border = cv2.BORDER_CONSTANT
        if np.allclose(self._covered(plane.shape), (width, height), atol=1):
            border = cv2.BORDER_REPLICATE  # half a voxel lies between the last centre and the border
        return cv2.warpAffine(
            plane, self.canvas_from_plane[:2], (width, height), flags=cv2.INTER_LINEAR, borderMode=border
        )

    def _covered(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the (width, height) that a whole plane of this shape has on the canvas."""
        return np.abs(np.diag(self.canvas_from_plane)[:2]) * np.array(shape[1::-1])

    def voxels(self, cut: float) -> np.ndarray:
        """Return the (3, height, width) voxel coordinates of the canvas, (x, y, z), in the slice ``cut``."""
        y, x = np.mgrid[: self.size[0], : self.size[1]]
        pixels = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float64)
        plane = apply_matrix(invert_matrix(self.canvas_from_plane), pixels)
        return np.insert(plane, self.axis, cut, axis=1).T.reshape(3, *self.size)

    def write_letters(self, pen: Pen) -> None:
        """Write the directions of the patient at the edges of the canvas."""
        if not self.letters:
            return
        height, width = self.size
        sizes = [pen.text_size(text) for text in self.letters]
        gap = sizes[0][1] // 3 + 1
        middle = [((width - w) / 2, (height - h) / 2) for w, h in sizes]
        places = [
            (gap, middle[0][1]),
            (width - sizes[1][0] - gap, middle[1][1]),
            (middle[2][0], gap),
            (middle[3][0], height - sizes[3][1] - gap),
        ]
        for text, (left, top) in zip(self.letters, places, strict=True):
            pen.text(text, left, top, style.EDGE_COLOR)
