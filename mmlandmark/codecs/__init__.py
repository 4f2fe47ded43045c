"""Codecs turn landmarks into heatmaps and back; a model names its codec once, in the head."""

from mmlandmark.codecs.heatmap_codec import GaussianHeatmapCodec, HeatmapCodec, LaplaceHeatmapCodec
from mmlandmark.codecs.heatmap_target import GivenTarget, HeatmapTarget

__all__ = ["GaussianHeatmapCodec", "GivenTarget", "HeatmapCodec", "HeatmapTarget", "LaplaceHeatmapCodec"]
