"""One term of a distillation loss: what is compared, and how much it counts in an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmlandmark.models.assembly import filled
from mmlandmark.models.losses.distillation_loss import FeatureLoss
from mmlandmark.models.losses.heatmap_loss import LandmarkLoss
from mmlandmark.registry import MODELS

Weight = float | Sequence[tuple[float, float]]
KEYS = ("loss", "pairs", "weight")


class DistillationTerm:
    """One loss of a student against its teacher.

    Args:
        loss: A :class:`FeatureLoss` compares the features of ``pairs``; a loss that compares heatmaps takes
            the teacher's as the target of the student's (Fast-KD, Zhang et al. 2019).
        pairs: (path in the student, path in the teacher), as in ``named_modules()``; the mean of their losses
            counts.
        weight: Of the loss: a number, or (epoch, weight) points, linearly interpolated between them.

    Raises:
        ValueError: ``loss`` compares neither features nor heatmaps, or looks at landmarks alone; ``pairs`` do
            not fit it, epochs are not in order or a weight is negative.
    """

    def __init__(
        self, loss: FeatureLoss | LandmarkLoss, pairs: Sequence[Sequence[str]] = (), weight: Weight = 1.0
    ) -> None:
        name = type(loss).__name__
        if not isinstance(loss, FeatureLoss | LandmarkLoss):
            raise ValueError(
                f"{name} cannot be a distillation term: it compares neither features nor heatmaps"
            )
        if isinstance(loss, LandmarkLoss) and not loss.compares_maps:
            raise ValueError(
                f"{name} cannot be a distillation term: it compares maps with the annotated landmarks, "
                "whatever the teacher's maps are; give it to the head, and the term a loss such as "
                "HeatmapMSELoss"
            )
        if isinstance(loss, FeatureLoss) != bool(pairs):
            raise ValueError(
                f"{name} compares the heatmaps of both models: leave pairs out"
                if pairs
                else f"{name} compares features: give pairs of (path in the student, path in the teacher)"
            )
        if any(isinstance(pair, str) or len(pair) != 2 for pair in pairs):
            raise ValueError(f"pairs must be (path in the student, path in the teacher), got {pairs!r}")
        self.loss, self.pairs, self.points = loss, [(own, other) for own, other in pairs], _points(weight)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], number: int, dims: int | None = None) -> DistillationTerm:
        """Build a term from a dict of ``loss``, ``pairs`` and ``weight``.

        Args:
            config: Of the term.
            number: Its place among the terms, for messages.
            dims: Of the images, for a loss that takes it.

        Raises:
            ValueError: There is no loss, an unknown key, or as the class.
        """
        unknown = sorted(set(config) - set(KEYS))
        if unknown:
            raise ValueError(f"term {number} takes loss, pairs and weight, not {', '.join(unknown)}")
        if "loss" not in config:
            raise ValueError(f"term {number} needs a loss; it has {sorted(config)}")
        loss = MODELS.build(filled(MODELS, config["loss"], dims=dims))
        return cls(loss, **{key: value for key, value in config.items() if key != "loss"})

    @property
    def name(self) -> str:
        """The loss's type in lower case, without ``Loss``."""
        return type(self.loss).__name__.removesuffix("Loss").lower()

    def weight(self, epoch: float) -> float:
        """Return the weight in an epoch, counted from 0."""
        epochs, weights = zip(*self.points, strict=True)
        return float(np.interp(epoch, epochs, weights))


def _points(weight: Weight) -> list[tuple[float, float]]:
    """Return a weight as (epoch, weight) points."""
    points = [(0.0, weight)] if isinstance(weight, int | float) else list(weight)
    pairs = all(isinstance(point, Sequence) and len(point) == 2 for point in points)
    if not points or not pairs or [p[0] for p in points] != sorted({p[0] for p in points}):
        raise ValueError(f"weight must be a number or (epoch, weight) with growing epochs, got {weight!r}")
    if not all(value >= 0 for _, value in points):
        raise ValueError(f"the weight of a distillation term must not be negative, got {weight!r}")
    return points
