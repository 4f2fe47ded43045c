"""A smooth deformation: uniform cubic B-splines on a coarse lattice over a frame, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmlandmark.structures import apply_matrix, invert_matrix


def _spline_basis(positions: np.ndarray, size: int, cells: int) -> np.ndarray:
    """Return (N, cells + 3): the weight of every lattice point at pixel ``positions`` (N,) of one axis."""
    t = np.clip((positions + 0.5) / size * cells, 0.0, cells)
    cell = np.minimum(t.astype(np.int64), cells - 1)
    u = t - cell
    weights = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], 1) / 6
    basis = np.zeros((len(t), cells + 3))
    np.put_along_axis(basis, cell[:, None] + np.arange(4), weights, axis=1)
    return basis


@dataclass(frozen=True, eq=False)
class ElasticField:
    """A deformation of the original frame, described in some frame of the pipeline.

    Pixel q of the deformed image is read from ``q + u(q)`` of the original one, so a landmark at p moves to
    the q with ``q + u(q) = p``. Outside the frame, u is constant, as at the border.

    Attributes:
        coefficients: (D, *cells + 3) displacements at the lattice points, in pixels of the frame.
        frame_from_original: (D+1, D+1) original to the frame of u.
        shape: (*S) of that frame.
    """

    coefficients: np.ndarray
    frame_from_original: np.ndarray
    shape: tuple[int, ...]

    def _basis(self, axis: int, positions: np.ndarray) -> np.ndarray:
        return _spline_basis(positions, self.shape[axis], self.coefficients.shape[axis + 1] - 3)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return u (N, D) at ``points`` (N, D), both in pixels of the frame."""
        dims = len(self.shape)
        values = np.broadcast_to(self.coefficients, (len(points), *self.coefficients.shape))
        for axis in range(dims):  # contracts the first remaining lattice axis
            values = np.einsum("nkj...,nj->nk...", values, self._basis(axis, points[:, dims - 1 - axis]))
        return values

    def dense(self) -> np.ndarray:
        """Return u (*S, D) float32 at all pixels of the frame."""
        values = self._on_grid([np.arange(size) for size in self.shape])
        return np.ascontiguousarray(np.moveaxis(values, 0, -1), dtype=np.float32)

    def lattice(self, parts: int) -> tuple[np.ndarray, np.ndarray]:
        """Return u (D, *cells * parts + 1) float32 at the corners of the cells, each split into ``parts``.

        The second value is the (D+1, D+1) matrix from the frame to the indices of that lattice, which spans
        the frame from edge to edge.
        """
        counts = [parts * (count - 3) for count in self.coefficients.shape[1:]]
        places = [np.arange(n + 1) * (side / n) - 0.5 for n, side in zip(counts, self.shape, strict=True)]
        factor = np.asarray(counts[::-1]) / np.asarray(self.shape[::-1])
        matrix = np.diag([*factor, 1.0])
        matrix[:-1, -1] = 0.5 * factor
        return np.ascontiguousarray(self._on_grid(places), dtype=np.float32), matrix

    def _on_grid(self, places: Sequence[np.ndarray]) -> np.ndarray:
        """Return u (D, *N) on the grid of positions (N,) along each array axis."""
        values = self.coefficients
        for axis, positions in enumerate(places):
            basis = self._basis(axis, positions)
            values = np.moveaxis(np.tensordot(basis, values, axes=(1, axis + 1)), 0, axis + 1)
        return values

    def move(self, points: np.ndarray) -> np.ndarray:
        """Return the positions of ``points`` (K, D) after the deformation, in original pixels; NaN stays NaN.

        Raises:
            ValueError: The deformation folds the image, so the position is not unique.
        """
        finite = np.isfinite(points).all(1)
        target = apply_matrix(self.frame_from_original, np.asarray(points[finite], dtype=np.float64))
        moved = target
        for _ in range(100):
            previous, moved = moved, target - self.at(moved)
            if np.abs(moved - previous).max(initial=0.0) < 1e-6:
                break
        else:
            raise ValueError("the elastic deformation folds the image: reduce its amplitude or its cells")
        result = np.array(points, copy=True)
        result[finite] = apply_matrix(invert_matrix(self.frame_from_original), moved)
        return result
