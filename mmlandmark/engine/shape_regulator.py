"""Which predicted landmarks are good enough to learn from: those whose shape is usual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.engine.physical_shapes import physical_shapes, steps_by_reference
from mmlandmark.registry import LABEL_SELECTORS
from mmlandmark.shape import PointDistributionModel, Regulated, ShapePrior
from mmlandmark.structures import LandmarkDataSample, mm_steps

WAYS = ("adjustment", "robust adjustment", "masking", "agreement", "agreement, then adjustment")


@LABEL_SELECTORS.register_module()
class KeepAll:
    """Keeps every predicted landmark: naive self-training."""

    def learn(self, dataset: Any) -> None:
        """Learn nothing."""

    def select(self, points: np.ndarray, samples: Sequence[LandmarkDataSample]) -> Regulated:
        """Return the shapes as they are; see :meth:`ShapeRegulator.select`."""
        points = np.asarray(points, dtype=np.float64)
        kept = np.isfinite(points).all(axis=2)
        return Regulated(points, np.full(kept.shape, np.nan), kept, np.zeros(len(points), dtype=bool))


@LABEL_SELECTORS.register_module()
class ShapeRegulator:
    """Adjusts predicted shapes to usual ones, and leaves out abnormal landmarks (Chen et al., section 3.1).

    Args:
        way: ``adjustment``, the publication's: shapes are adjusted by principal components, or those of their
            landmarks left out that the adjustment moves by more than ``limit``. With few labelled shapes it
            leaves out many right ones. ``robust adjustment`` shrinks the covariance of few shapes.
            ``masking`` leaves out the same landmarks as ``adjustment``, and moves none.
            ``agreement`` keeps the landmarks that agree with each other, where they are; it needs 10 labelled
            shapes. ``agreement, then adjustment`` adjusts what agrees. ``docs/shapes.md`` compares them.
        limit: Z, the longest way that an adjustment may move a landmark.
        unit: Of the limit: ``mm``, by spacing or else by the schema's reference length, or ``px``.
        gate: For ``agreement``, in standard deviations.

    Raises:
        ValueError: An argument is unknown or not positive.
    """

    def __init__(
        self, way: str = "adjustment", limit: float = 2.0, unit: Literal["mm", "px"] = "mm", gate: float = 5.0
    ) -> None:
        if way not in WAYS:
            raise ValueError(f"ShapeRegulator: way must be one of {', '.join(map(repr, WAYS))}, got {way!r}")
        if unit not in ("mm", "px") or not limit > 0 or not gate > 0:
            raise ValueError(
                f"ShapeRegulator: unit must be 'mm' or 'px', limit and gate positive, got {unit!r}, "
                f"{limit}, {gate}"
            )
        self.way, self.limit, self.unit, self.gate = way, limit, unit, gate
        self._model: PointDistributionModel | None = None
        self._prior: ShapePrior | None = None
        self._reference: dict[str, Any] | None = None

    def learn(self, dataset: Any) -> None:
        """Learn the usual shapes from the labelled samples of a data set.

        Raises:
            ValueError: There are too few labelled shapes, or mm are not known.
        """
        points, unit = annotated_shapes(dataset)[0], "px"
        if self.unit == "mm":
            points, unit = physical_shapes(dataset)
        if unit != self.unit:
            raise ValueError(
                f"ShapeRegulator: its limit of {self.limit:g} mm needs the spacing of all labelled images, "
                "or a schema with a reference length; without, give a limit in pixels and unit='px'"
            )
        self._reference = dataset.metainfo.get("reference_length")
        try:
            if self.way.startswith("agreement"):
                self._prior = ShapePrior.fit(points)
            if self.way == "masking" or self.way.endswith("adjustment"):
                self._model = PointDistributionModel.fit(points, robust=self.way.startswith("robust"))
        except ValueError as error:
            raise ValueError(f"ShapeRegulator: the labelled shapes are not enough: {error}") from error

    def select(self, points: np.ndarray, samples: Sequence[LandmarkDataSample]) -> Regulated:
        """Regulate predicted shapes.

        Args:
            points: (N, K, D) original pixels, NaN where nothing was predicted.
            samples: N samples the shapes are of, for their spacing.

        Raises:
            ValueError: mm are not known of a sample; it is named.
        """
        points = np.asarray(points, dtype=np.float64)
        steps = self._steps(points, samples)
        given = points
        if self._prior is not None:
            agreed = self._prior.consistent(points @ steps.swapaxes(1, 2), self.gate)
            given = np.where(agreed[..., None], points, np.nan)
        if self._model is not None:
            regulated = self._model.regulate(given, self.limit, steps)
            if self.way == "masking":
                return regulated._replace(points=points, adjusted=np.zeros(len(points), dtype=bool))
            # What does not agree is told as predicted, although it is not kept.
            chosen = np.where(np.isfinite(regulated.points), regulated.points, points)
            return regulated._replace(points=chosen)
        kept = np.isfinite(given).all(axis=2)
        return Regulated(points, np.full(kept.shape, np.nan), kept, np.zeros(len(points), dtype=bool))

    def _steps(self, points: np.ndarray, samples: Sequence[LandmarkDataSample]) -> np.ndarray:
        """Return (N, D, D) from steps in pixels to steps in the unit."""
        count, _, dims = points.shape
        if self.unit == "px":
            return np.broadcast_to(np.eye(dims), (count, dims, dims))
        steps = np.stack([_known_steps(sample, dims) for sample in samples])
        lacking = np.isnan(steps).any(axis=(1, 2))
        if lacking.any() and self._reference is None:
            raise ValueError(
                f"ShapeRegulator: {samples[int(lacking.argmax())].sample_id!r} has no spacing: give its "
                "dataset spacing=..., or the selector a limit in pixels and unit='px'"
            )
        if lacking.any():
            assert self._reference is not None
            steps[lacking] = steps_by_reference(points[lacking], self._reference)
        return steps


def _known_steps(sample: LandmarkDataSample, dims: int) -> np.ndarray:
    steps = mm_steps(sample.get("world_from_original"), sample.get("spacing"), dims)
    return np.full((dims, dims), np.nan) if steps is None else steps
