"""A loss: an error of every pixel; masks and reduction are taken care of."""

from __future__ import annotations

import torch
from torch import Tensor

from mmlandmark.models.losses import HeatmapLoss
from mmlandmark.registry import MODELS


@MODELS.register_module()
class HuberHeatmapLoss(HeatmapLoss):
    """Squared near zero, absolute beyond."""

    def pointwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the Huber error of every pixel, (B, K, H, W)."""
        return torch.nn.functional.huber_loss(pred, target, reduction="none", delta=0.1)
