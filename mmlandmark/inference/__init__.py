"""Inference: from a trained model and a new image to an answer."""

from mmlandmark.inference.writers import write_predictions

__all__ = ["write_predictions"]
