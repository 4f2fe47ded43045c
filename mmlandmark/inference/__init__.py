"""Inference: from a trained model and a new image to an answer."""

from mmlandmark.inference.loading import load_model
from mmlandmark.inference.writers import write_predictions
from mmlandmark.models.model_file import ModelFile

__all__ = ["ModelFile", "load_model", "write_predictions"]
