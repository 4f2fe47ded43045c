"""Networks, necks, heads, losses and the detector that joins them."""

from mmlandmark.models import backbones, detectors, heads, losses, necks
from mmlandmark.models.data_preprocessor import LandmarkDataPreprocessor

__all__ = ["LandmarkDataPreprocessor", "backbones", "detectors", "heads", "losses", "necks"]
