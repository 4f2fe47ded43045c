"""Backbones, necks, heads, losses, and the detectors made of them."""

from mmlandmark.models import backbones, detectors, heads, losses, necks
from mmlandmark.models.data_preprocessor import LandmarkDataPreprocessor
from mmlandmark.models.non_local import NonLocalBlock
from mmlandmark.models.patch_discriminator import PatchDiscriminator
from mmlandmark.models.published_farnet import (
    PublishedFARNetCodec,
    PublishedFARNetDetector,
    PublishedFARNetPreprocessor,
)

__all__ = [
    "LandmarkDataPreprocessor",
    "NonLocalBlock",
    "PatchDiscriminator",
    "PublishedFARNetCodec",
    "PublishedFARNetDetector",
    "PublishedFARNetPreprocessor",
    "backbones",
    "detectors",
    "heads",
    "losses",
    "necks",
]
