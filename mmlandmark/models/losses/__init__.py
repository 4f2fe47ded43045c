"""Losses on heatmaps and embeddings; all honour the landmark mask and state their reduction."""

from mmlandmark.models.losses.cascade_contrast_loss import CascadeContrastLoss
from mmlandmark.models.losses.distillation_loss import (
    AttentionMapLoss,
    AttentionTransferLoss,
    FeatureLoss,
    FeatureMSELoss,
)
from mmlandmark.models.losses.distillation_term import DistillationTerm
from mmlandmark.models.losses.heatmap_loss import (
    AdaptiveWingLoss,
    EWCLoss,
    HeatmapBCELoss,
    HeatmapL1Loss,
    HeatmapLoss,
    HeatmapMSELoss,
)
from mmlandmark.models.losses.integral_loss import IntegralL1Loss, IntegralLoss
from mmlandmark.models.losses.map_loss import DiceLoss, SpatialCrossEntropyLoss
from mmlandmark.models.losses.offset_loss import OffsetL1Loss
from mmlandmark.models.losses.region_attention_loss import RegionAttentionLoss
from mmlandmark.models.losses.sampled_contrast_loss import SampledContrastLoss
from mmlandmark.models.losses.spatial_configuration_loss import SpatialConfigurationLoss
from mmlandmark.models.losses.spatial_features import spatial_features

__all__ = [
    "AdaptiveWingLoss",
    "AttentionMapLoss",
    "AttentionTransferLoss",
    "CascadeContrastLoss",
    "DiceLoss",
    "DistillationTerm",
    "EWCLoss",
    "FeatureLoss",
    "FeatureMSELoss",
    "HeatmapBCELoss",
    "HeatmapL1Loss",
    "HeatmapLoss",
    "HeatmapMSELoss",
    "IntegralL1Loss",
    "IntegralLoss",
    "OffsetL1Loss",
    "RegionAttentionLoss",
    "SampledContrastLoss",
    "SpatialConfigurationLoss",
    "SpatialCrossEntropyLoss",
    "spatial_features",
]
