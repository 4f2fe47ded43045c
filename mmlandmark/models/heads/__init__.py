"""Heads: from features to heatmaps, losses and landmarks."""

from mmlandmark.models.heads.heatmap_head import HeatmapHead

__all__ = ["HeatmapHead"]
