"""Detectors: whole models that train and predict."""

from mmlandmark.models.detectors.base_detector import BaseDetector
from mmlandmark.models.detectors.distilled_detector import DistilledDetector
from mmlandmark.models.detectors.ensemble_detector import EnsembleDetector
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.detectors.mixed_ensemble import MixedEnsemble
from mmlandmark.models.detectors.multi_task_detector import MultiTaskDetector

__all__ = [
    "BaseDetector",
    "DistilledDetector",
    "EnsembleDetector",
    "LandmarkDetector",
    "MixedEnsemble",
    "MultiTaskDetector",
]
