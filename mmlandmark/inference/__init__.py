"""Inference: from a trained model and a new image to an answer."""

from mmlandmark.inference.case_loader import Failure
from mmlandmark.inference.image_inputs import Case, find_cases
from mmlandmark.inference.inferencer import LandmarkInferencer
from mmlandmark.inference.loading import load_model
from mmlandmark.inference.overlays import draw_prediction
from mmlandmark.inference.prediction_folder import predict_to_folder
from mmlandmark.inference.prediction_table import prediction_table
from mmlandmark.inference.shard_prediction import joined_predictions, predict_shards
from mmlandmark.inference.writers import write_predictions
from mmlandmark.models.model_file import ModelFile

__all__ = [
    "Case",
    "Failure",
    "LandmarkInferencer",
    "ModelFile",
    "draw_prediction",
    "find_cases",
    "joined_predictions",
    "load_model",
    "predict_shards",
    "predict_to_folder",
    "prediction_table",
    "write_predictions",
]
