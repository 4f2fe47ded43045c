"""Inference: from a trained model and a new image to an answer."""
