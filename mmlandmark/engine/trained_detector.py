"""A trained detector from its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.engine.config import config_of_model, config_of_run
from mmlandmark.models.detector_weights import detector_with_weights
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.models.model_file import is_model_file
from mmlandmark.utils.checkpoint import load_checkpoint


def load_detector(path: str | Path) -> tuple[BaseDetector, Config]:
    """Return the detector of a checkpoint, in test mode, and the config beside it; or those of a model file.

    Raises:
        ConfigError: There is no config.
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be loaded safely, or holds the weights of another model.
    """
    checkpoint = load_checkpoint(path)
    config = config_of_checkpoint(path, checkpoint)
    return detector_with_weights(config.model, checkpoint, str(path)), config


def config_of_checkpoint(path: str | Path, content: Mapping[str, Any]) -> Config:
    """Return the config that a run left beside a checkpoint; a model file has its own.

    Args:
        path: The file.
        content: As loaded.

    Raises:
        ConfigError: There is none, or it cannot be used.
    """
    return config_of_model(path) if is_model_file(content) else config_of_run(Path(path).parent)
