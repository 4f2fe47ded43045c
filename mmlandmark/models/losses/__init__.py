"""Losses on heatmaps; all honour the landmark mask and state their reduction."""

from mmlandmark.models.losses.heatmap_loss import (
    AdaptiveWingLoss,
    EWCLoss,
    HeatmapBCELoss,
    HeatmapL1Loss,
    HeatmapLoss,
    HeatmapMSELoss,
)
from mmlandmark.models.losses.map_loss import DiceLoss, SpatialCrossEntropyLoss

__all__ = [
    "AdaptiveWingLoss",
    "DiceLoss",
    "EWCLoss",
    "HeatmapBCELoss",
    "HeatmapL1Loss",
    "HeatmapLoss",
    "HeatmapMSELoss",
    "SpatialCrossEntropyLoss",
]
