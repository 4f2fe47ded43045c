"""Which predicted landmarks to learn from where one image is annotated: those that agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.registry import LABEL_SELECTORS
from mmlandmark.shape import Regulated, fit_robustly
from mmlandmark.structures import LandmarkDataSample, mm_steps

_ROUNDS = 5
_TRUSTED = 0.3  # share of the images in which a landmark is taken for right while its spread is measured
_USUAL = 0.99  # of the right landmarks are to be kept
_FINEST = 0.01  # radii that a spread is at least


@LABEL_SELECTORS.register_module()
class ShapeConsensus:
    """Keeps predicted landmarks that are where those of one annotated shape and of all images expect them.

    For one-shot detection, where the annotated shapes are too few to learn from what is usual. The annotated
    shape is fitted robustly to every prediction (see :func:`~mmlandmark.shape.fit_robustly`). Where a
    landmark usually lies in its frame, and how far from there, is that of the densest third of the images. A
    landmark is kept within the distance that holds 99 % of a normal distribution of that width. An image of
    which more than half of the landmarks would be left out is left out as a whole. No landmark is moved.

    Shapes are compared up to position, rotation and size, with square pixels where the spacing of an image
    is not known.

    Args:
        far: Never keep a landmark farther from where it usually lies, in root mean square radii of the shape.

    Raises:
        ValueError: It is not positive.
    """

    compares_images = True

    def __init__(self, far: float = 0.25) -> None:
        if not far > 0:
            raise ValueError(f"ShapeConsensus: far must be positive, got {far}")
        self.far = far
        self._template: np.ndarray | None = None

    def learn(self, dataset: Any) -> None:
        """Take the annotated shape with the most landmarks; others are never kept.

        Raises:
            ValueError: It has not more landmarks than dimensions.
        """
        points, steps = annotated_shapes(dataset)
        if steps is not None:
            points = points @ steps.swapaxes(1, 2)
        there = np.isfinite(points).all(axis=2).sum(axis=1)
        if there.max() <= points.shape[2]:
            raise ValueError(
                f"ShapeConsensus needs an annotated image with more than {points.shape[2]} landmarks, to "
                f"compare shapes; there are {there.max()}: take KeepAll"
            )
        self._template = points[int(there.argmax())]

    def select(self, points: np.ndarray, samples: Sequence[LandmarkDataSample]) -> Regulated:
        """Return the shapes as they are, how far landmarks lie from their usual places, and what is kept.

        Args:
            points: (N, K, D) original pixels, NaN where nothing was predicted.
            samples: N samples the shapes are of, for their spacing.

        Returns:
            The deviations are in radii of the annotated shape, NaN where it could not be fitted.
        """
        points = np.asarray(points, dtype=np.float64)
        offsets = self._offsets(points, samples)
        deviation = np.full(points.shape[:2], np.nan)
        kept = np.zeros(points.shape[:2], dtype=bool)
        for k in range(points.shape[1]):
            deviation[:, k], kept[:, k] = self._usual(offsets[:, k])
        kept &= (2 * kept.sum(axis=1) >= np.isfinite(offsets).all(axis=2).sum(axis=1))[:, None]
        return Regulated(points, deviation, kept, np.zeros(len(points), dtype=bool))

    def _offsets(self, points: np.ndarray, samples: Sequence[LandmarkDataSample]) -> np.ndarray:
        """Return (N, K, D) offsets from the annotated shape in its frame, in radii; NaN where not fitted."""
        if self._template is None:
            raise RuntimeError("ShapeConsensus.learn has not been called")
        dims, known = points.shape[2], np.isfinite(self._template).all(axis=1)
        shape = self._template[known]
        radius = np.sqrt(np.square(shape - shape.mean(axis=0)).sum(axis=1).mean())
        offsets = np.full(points.shape, np.nan)
        for n, (one, sample) in enumerate(zip(points, samples, strict=True)):
            steps = mm_steps(sample.get("world_from_original"), sample.get("spacing"), dims)
            found = (one if steps is None else one @ steps.T)[known]
            fit = fit_robustly(found, shape)
            if fit is not None:
                back = np.linalg.inv(fit.matrix)
                offsets[n, known] = (found @ back[:dims, :dims].T + back[:dims, dims] - shape) / radius
        return offsets

    def _usual(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far (N, D) offsets of a landmark lie from the usual one, (N,), and which are usual."""
        from scipy.stats import chi  # takes a second, and few runs have one template

        distance, dims = np.linalg.norm(offsets, axis=1), offsets.shape[1]
        usual = distance <= self.far  # NaN is not
        if not usual.any():
            return distance, usual
        width = chi.ppf(_USUAL, dims) / chi.ppf(_TRUSTED, dims)
        for _ in range(_ROUNDS):
            distance = np.linalg.norm(offsets - np.median(offsets[usual], axis=0), axis=1)
            spread = max(float(np.nanquantile(distance, _TRUSTED)), _FINEST * chi.ppf(_TRUSTED, dims))
            near = distance <= min(width * spread, self.far)
            if not near.any() or (near == usual).all():
                break
            usual = near
        return distance, usual
