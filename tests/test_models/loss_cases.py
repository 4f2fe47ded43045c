"""Losses and a target for them, shared by their tests."""

import torch

from mmlandmark.codecs import HeatmapTarget

ALL = [
    dict(type="HeatmapMSELoss"),
    dict(type="HeatmapL1Loss"),
    dict(type="EWCLoss"),
    dict(type="AdaptiveWingLoss"),
    dict(type="HeatmapBCELoss"),
    dict(type="HeatmapBCELoss", gamma=2.0),
    dict(type="HeatmapBCELoss", top=0.2),
    dict(type="HeatmapMSELoss", top=0.2),
    dict(type="SpatialCrossEntropyLoss"),
    dict(type="DiceLoss"),
    dict(type="DiceLoss", per_map=False),
    dict(type="SpatialConfigurationLoss", gamma=1.0),
    dict(type="IntegralL1Loss", activation="sigmoid"),
    dict(type="IntegralL1Loss", activation="softmax", reduction="sum"),
    dict(type="RegionAttentionLoss", std=0.0, activation="sigmoid"),
    dict(type="RegionAttentionLoss", std=0.0, norm=1),
]


def target_of(batch=2, count=3, size=(6, 7), dtype=torch.float64, weights=None, **kwargs):
    torch.manual_seed(0)
    points = torch.rand(batch, count, len(size), dtype=dtype) * 4 + 1
    weights = torch.ones(batch, count, dtype=dtype) if weights is None else weights
    return HeatmapTarget(points, weights > 0, weights, size, 1.5, **kwargs)
