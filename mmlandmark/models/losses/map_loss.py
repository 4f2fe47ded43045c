"""Losses that look at a heatmap as a whole."""

from __future__ import annotations

import torch
from torch import Tensor

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.losses.heatmap_loss import LandmarkLoss
from mmlandmark.registry import MODELS


@MODELS.register_module()
class SpatialCrossEntropyLoss(LandmarkLoss):
    r"""Cross-entropy of the softmax over all pixels of a map against the normalised target.

    :math:`-\sum_x q(x) \log \mathrm{softmax}(\beta p)(x)` with :math:`q = y / \sum y`, averaged over
    annotated landmarks. Its gradient on a map is ``softmax - q``: it always sums to one unit of pull
    towards the landmark, however small the peak is against the map, so no channel can settle at zero as
    it can under a loss averaged over pixels (see ``docs/collapsed_channels.md``).

    A landmark that a crop or a shift has moved more than one sigma out of the map is skipped, since its unit
    of pull would lead to the border; see :class:`LandmarkLoss`.

    Args:
        beta: Factor of the prediction before the softmax. 1 for a model that predicts logits; larger
            where the same map is also regressed to a peak of height 1.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: ``beta`` is not positive.
    """

    of_distributions = True

    def __init__(self, beta: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if not beta > 0:
            raise ValueError(f"beta must be positive, got {beta}")
        self.beta = beta

    def per_landmark(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the cross-entropy of every map, (B, K)."""
        logits = pred if self.beta == 1 else pred * self.beta
        inner = logits.flatten(2).log_softmax(-1)
        profiles = target.profiles
        if profiles is None:
            # A given map may have negative values, a distribution may not.
            weights = target.heatmaps.flatten(2).clamp(min=0)
            return -(weights * inner).sum(-1) / _positive(weights.sum(-1))
        # <q, log p> with q an outer product, one axis after the other: the target map is never drawn.
        inner = inner.view(logits.shape)
        for row in reversed(profiles):
            row = row / _positive(row.sum(-1, keepdim=True))
            lines = row.reshape(*row.shape[:2], *[1] * max(inner.ndim - 4, 0), row.shape[-1], 1)
            inner = inner.matmul(lines)[..., 0] if inner.ndim > 3 else (inner * row).sum(-1)
        return -inner


def _positive(values: Tensor) -> Tensor:
    """Return values clamped to the smallest positive number, for a division."""
    return values.clamp(min=torch.finfo(values.dtype).tiny)


@MODELS.register_module()
class DiceLoss(LandmarkLoss):
    r"""Dice loss :math:`1 - 2 \sum s t / (\sum s^2 + \sum t^2)` on the sigmoid of the prediction.

    Args:
        per_map: True: one ratio per map, averaged over annotated landmarks; False: one ratio per image
            over all its annotated maps (FSF-LD, Huang et al. 2022, eq. 7), averaged over the annotated
            landmarks of the batch, and so over its images if all have as many.
        loss_weight: Factor of the loss.
    """

    of_unit_maps = True

    def __init__(self, per_map: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.per_map = per_map

    def per_landmark(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the Dice loss of every map, or of its image repeated for every map, (B, K)."""
        probability, truth = pred.sigmoid().flatten(2), target.heatmaps.flatten(2)
        overlap = (probability * truth).sum(-1)
        total = probability.square().sum(-1) + truth.square().sum(-1)
        if not self.per_map:
            # Left out, not weighted by 0: a teacher's map of a masked landmark may hold NaN.
            used = target.weights > 0
            overlap = torch.where(used, overlap, 0).sum(-1, keepdim=True).expand_as(overlap)
            total = torch.where(used, total, 0).sum(-1, keepdim=True).expand_as(total)
        return 1 - 2 * overlap / total.clamp(min=torch.finfo(total.dtype).tiny)
