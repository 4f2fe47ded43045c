"""A trained detector from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.engine.config import config_of_run
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.registry import MODELS
from mmlandmark.utils.checkpoint import check_state_dict, load_checkpoint, put_training_back


def load_detector(path: str | Path) -> tuple[BaseDetector, Config]:
    """Return the detector of a checkpoint, in test mode, and the config that lies beside the checkpoint.

    Raises:
        ConfigError: There is no config.
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be loaded safely, or holds the weights of another model.
    """
    checkpoint, config = load_checkpoint(path), config_of_run(Path(path).parent)
    return detector_with_weights(config.model, checkpoint, str(path)), config


def detector_with_weights(model: dict, checkpoint: dict[str, Any], where: str) -> BaseDetector:
    """Return a detector with the weights of a checkpoint, in test mode.

    Args:
        model: Its config.
        checkpoint: As loaded.
        where: What the checkpoint is, for errors.

    Raises:
        ValueError: The weights are those of another model.
    """
    detector = MODELS.build(model)
    put_training_back(checkpoint, detector)
    check_state_dict(detector, checkpoint.get("state_dict", checkpoint), where)
    detector.load_state_dict(checkpoint.get("state_dict", checkpoint))
    return detector.eval()
