"""Codecs turn landmarks into maps and back; a model names its codec once, in the head."""

from mmlandmark.codecs.base_codec import BaseCodec
from mmlandmark.codecs.candidates import Candidates
from mmlandmark.codecs.decoders import BaseDecoder, Peaks
from mmlandmark.codecs.heatmap_codec import GaussianHeatmapCodec, HeatmapCodec, LaplaceHeatmapCodec
from mmlandmark.codecs.heatmap_target import GivenTarget, HeatmapTarget, OffsetTarget
from mmlandmark.codecs.learned_sigma_codec import LearnedSigmaCodec
from mmlandmark.codecs.resizing import resized
from mmlandmark.codecs.spread import spread_of
from mmlandmark.codecs.voting_codec import VotingCodec

__all__ = [
    "BaseCodec",
    "BaseDecoder",
    "Candidates",
    "GaussianHeatmapCodec",
    "GivenTarget",
    "HeatmapCodec",
    "HeatmapTarget",
    "LaplaceHeatmapCodec",
    "LearnedSigmaCodec",
    "OffsetTarget",
    "Peaks",
    "VotingCodec",
    "resized",
    "spread_of",
]
