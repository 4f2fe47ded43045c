"""Networks, necks, heads, losses and the detector that joins them."""

from mmlandmark.models import backbones, detectors, heads, losses, necks
from mmlandmark.models.data_preprocessor import LandmarkDataPreprocessor
from mmlandmark.models.non_local import NonLocalBlock

__all__ = ["LandmarkDataPreprocessor", "NonLocalBlock", "backbones", "detectors", "heads", "losses", "necks"]
