"""Heads: from features to heatmaps, losses and landmarks."""

from mmlandmark.models.heads.base_heatmap_head import BaseHeatmapHead
from mmlandmark.models.heads.channel_attention_head import ChannelAttentionHead
from mmlandmark.models.heads.feature_refinement_head import FeatureRefinementHead
from mmlandmark.models.heads.heatmap_head import HeatmapHead
from mmlandmark.models.heads.presence import PresenceBranch
from mmlandmark.models.heads.spatial_configuration_head import SpatialConfigurationHead
from mmlandmark.models.heads.template_head import TemplateHead

__all__ = [
    "BaseHeatmapHead",
    "ChannelAttentionHead",
    "FeatureRefinementHead",
    "HeatmapHead",
    "PresenceBranch",
    "SpatialConfigurationHead",
    "TemplateHead",
]
