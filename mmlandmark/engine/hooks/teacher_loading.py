"""The teacher of a distilled detector: loaded, and compared with its student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmlandmark.engine.config import ConfigError, input_size, load_config
from mmlandmark.engine.data_checks import checkpoint_landmarks
from mmlandmark.engine.trained_detector import config_of_checkpoint
from mmlandmark.models.assembly import filled
from mmlandmark.models.data_preprocessor import LandmarkDataPreprocessor
from mmlandmark.models.detector_weights import detector_with_weights
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.registry import MODELS
from mmlandmark.structures import name_difference, names_of
from mmlandmark.utils.checkpoint import load_checkpoint


def load_teacher(
    teacher: dict[str, Any], dims: int | None = None
) -> tuple[BaseDetector, Config | None, dict[str, Any]]:
    """Build a teacher and load its weights.

    Args:
        teacher: ``checkpoint``: its file. ``config``: its config file, or the dict of its model; by default
            the config that its training left beside the checkpoint, or the one in a model file.
        dims: Of the images, for a teacher with a config that does not name them.

    Returns:
        The detector in test mode, the config if it is that of a run, and what its checkpoint says about the
        landmarks.

    Raises:
        ConfigError: No checkpoint is named, or there is no config.
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be loaded safely, or holds the weights of another model.
    """
    unknown = sorted(set(teacher) - {"checkpoint", "config"})
    if unknown or not teacher.get("checkpoint"):
        raise ConfigError(
            f"model.teacher takes 'checkpoint' and 'config', got {sorted(teacher)}: name the checkpoint of "
            "the teacher, in the config or with --input teacher=FILE"
        )
    path, given = Path(teacher["checkpoint"]).expanduser(), teacher.get("config")
    checkpoint = load_checkpoint(path)
    config: Config | None = None
    model: Any = given
    if not isinstance(given, dict):
        try:
            config = config_of_checkpoint(path, checkpoint) if given is None else load_config(given)
        except ConfigError as error:
            if given is not None:
                raise
            raise ConfigError(f"{error}; set model.teacher.config to the config of the teacher") from error
        model = config.model
    model = filled(MODELS, model, dims=dims)
    detector = detector_with_weights(model, checkpoint, f"teacher {path}")
    return detector, config, checkpoint_landmarks(checkpoint)


def check_teacher(
    student: BaseDetector,
    config: Config,
    landmarks: dict[str, Any],
    teacher: BaseDetector,
    teacher_config: Config | None,
    teacher_landmarks: dict[str, Any],
) -> None:
    """Refuse a teacher with other images or other landmarks than its student.

    Args:
        student: The model that is trained.
        config: The run's config.
        landmarks: Metainfo of the run's data.
        teacher: See :func:`load_teacher`, likewise the rest.
        teacher_config: See there.
        teacher_landmarks: See there.

    Raises:
        ValueError: All differences, and what to do.
    """
    ours, theirs = _preprocessing(student.data_preprocessor), _preprocessing(teacher.data_preprocessor)
    wrong = [
        f"data_preprocessor.{k} is {_readable(theirs[k])} there, {_readable(ours[k])} here"
        for k in ours
        if ours[k] != theirs[k]
    ]
    if teacher_config is not None and input_size(teacher_config) != input_size(config):
        wrong.append(f"images have {input_size(teacher_config)} there, {input_size(config)} here")
    theirs, ours = (m.data_preprocessor.size_divisor for m in (teacher, student))
    size = input_size(config)
    if ours % theirs and (size is None or any(side % theirs for side in size)):
        wrong.append(f"images are padded to multiples of {theirs} there, of {ours} here (size_divisor)")
    difference = name_difference(names_of(teacher_landmarks), names_of(landmarks))
    if difference is not None:
        wrong.append(difference)
    if wrong:
        raise ValueError(
            f"teacher and student differ in what they see: {'; '.join(wrong)}. Train the teacher as its "
            "student is trained, or give the student the teacher's settings"
        )


def _preprocessing(preprocessor: LandmarkDataPreprocessor) -> dict[str, Any]:
    """Return the settings that decide how an image reaches a network."""
    mean, std = torch.broadcast_tensors(preprocessor.mean, preprocessor.std)
    kept = dict(mean=mean.tolist(), std=std.tolist())
    for key in kept:  # one value for all channels is the same as that value for each
        kept[key] = kept[key][:1] if len(set(kept[key])) == 1 else kept[key]
    return kept | {"type": type(preprocessor).__name__, "channels": preprocessor.channels}


def _readable(value: Any) -> Any:
    """Return numbers as a config writes them, not as single precision keeps them."""
    return [float(f"{number:.6g}") for number in value] if isinstance(value, list) else value
