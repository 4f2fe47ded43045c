"""Detectors: whole models that train and predict."""

from mmlandmark.models.detectors.landmark_detector import LandmarkDetector

__all__ = ["LandmarkDetector"]
