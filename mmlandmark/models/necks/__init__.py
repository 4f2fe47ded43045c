"""Necks: from the levels of a backbone to the features that a head works on, one family per file."""

from mmlandmark.models.necks.adapter_decoder import AdapterDecoder
from mmlandmark.models.necks.embedding_decoder import EmbeddingDecoder
from mmlandmark.models.necks.fpn import FPN
from mmlandmark.models.necks.msfa import MSFA
from mmlandmark.models.necks.pyramid_fusion import PyramidFusion
from mmlandmark.models.necks.token_embedding import GlobalTokenEmbedding, LocalTokenEmbedding
from mmlandmark.models.necks.unet_decoder import UNetDecoder

__all__ = [
    "AdapterDecoder",
    "EmbeddingDecoder",
    "FPN",
    "GlobalTokenEmbedding",
    "LocalTokenEmbedding",
    "MSFA",
    "PyramidFusion",
    "UNetDecoder",
]
