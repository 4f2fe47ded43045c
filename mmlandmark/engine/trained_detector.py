"""A trained detector from its checkpoint."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmlandmark.engine.config import config_of_run
from mmlandmark.models.detector_weights import detector_with_weights
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.utils.checkpoint import load_checkpoint


def load_detector(path: str | Path) -> tuple[BaseDetector, Config]:
    """Return the detector of a checkpoint, in test mode, and the config that lies beside the checkpoint.

    Raises:
        ConfigError: There is no config.
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be loaded safely, or holds the weights of another model.
    """
    checkpoint, config = load_checkpoint(path), config_of_run(Path(path).parent)
    return detector_with_weights(config.model, checkpoint, str(path)), config
