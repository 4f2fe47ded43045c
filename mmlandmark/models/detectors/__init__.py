"""Detectors: whole models that train and predict."""

from mmlandmark.models.detectors.base_detector import BaseDetector, plain_config
from mmlandmark.models.detectors.coarse_to_fine_detector import CoarseToFineDetector
from mmlandmark.models.detectors.coarse_to_fine_template_detector import CoarseToFineTemplateDetector
from mmlandmark.models.detectors.distilled_detector import DistilledDetector
from mmlandmark.models.detectors.ensemble_detector import BaseEnsemble, EnsembleDetector, MixedEnsemble
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.detectors.landmarkwise_detector import LandmarkwiseDetector
from mmlandmark.models.detectors.multi_task_detector import MultiTaskDetector
from mmlandmark.models.detectors.pose_alignment import PoseAlignment
from mmlandmark.models.detectors.shape_choice import ShapeChoice, steps_to_shape
from mmlandmark.models.detectors.template_detector import TemplateDetector
from mmlandmark.models.detectors.template_learner import TemplateLearner

__all__ = [
    "BaseDetector",
    "BaseEnsemble",
    "CoarseToFineDetector",
    "CoarseToFineTemplateDetector",
    "DistilledDetector",
    "EnsembleDetector",
    "LandmarkDetector",
    "LandmarkwiseDetector",
    "MixedEnsemble",
    "MultiTaskDetector",
    "PoseAlignment",
    "ShapeChoice",
    "TemplateDetector",
    "TemplateLearner",
    "plain_config",
    "steps_to_shape",
]
