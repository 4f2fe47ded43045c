"""The teacher of a distilled detector: found, loaded, and compared with its student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmlandmark.engine.config import ConfigError, config_of_run, input_size, load_config
from mmlandmark.engine.config_data import CONFIG_FILE
from mmlandmark.engine.stages import PREFIX, plan_stages
from mmlandmark.models.data_preprocessor import LandmarkDataPreprocessor
from mmlandmark.models.detectors import BaseDetector, DistilledDetector
from mmlandmark.registry import MODELS
from mmlandmark.structures import name_difference, names_of
from mmlandmark.utils.checkpoint import check_state_dict, load_checkpoint, put_training_back


def load_teacher(teacher: dict[str, Any]) -> tuple[BaseDetector, Config | None, dict[str, Any]]:
    """Build a teacher and load its weights.

    Args:
        teacher: ``checkpoint``: its file. ``config``: its config file, or the dict of its model; by default
            the config that its training left beside the checkpoint.

    Returns:
        The detector in the mode of the test, the config if it is that of a run, and what its checkpoint says
        about the landmarks.

    Raises:
        ConfigError: There is no checkpoint named, or no config found.
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be loaded safely, or holds the weights of another model.
    """
    unknown = sorted(set(teacher) - {"checkpoint", "config"})
    if unknown or not teacher.get("checkpoint"):
        raise ConfigError(
            f"model.teacher takes 'checkpoint' and 'config', got {sorted(teacher)}: name the checkpoint of "
            "the teacher, in the config or with --teacher"
        )
    path, given = Path(teacher["checkpoint"]).expanduser(), teacher.get("config")
    checkpoint = load_checkpoint(path)
    config, model = None, given
    if not isinstance(given, dict):
        try:
            config = config_of_run(path.parent) if given is None else load_config(given)
        except ConfigError as error:
            if given is not None:
                raise
            raise ConfigError(f"{error}; say with model.teacher.config what the teacher is") from error
        model = config.model
    detector = _with_weights(model, checkpoint, f"teacher {path}")
    return detector, config, checkpoint.get("meta", {}).get("dataset_meta") or {}


def load_detector(path: str | Path) -> tuple[BaseDetector, Config]:
    """Return the detector of a checkpoint, in the mode of the test, and the config that lies beside it.

    Raises:
        ConfigError: There is no config.
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It cannot be loaded safely, or holds the weights of another model.
    """
    checkpoint, config = load_checkpoint(path), config_of_run(Path(path).parent)
    return _with_weights(config.model, checkpoint, str(path)), config


def _with_weights(model: dict, checkpoint: dict[str, Any], where: str) -> BaseDetector:
    detector = MODELS.build(model)
    put_training_back(checkpoint, detector)
    check_state_dict(detector, checkpoint.get("state_dict", checkpoint), where)
    detector.load_state_dict(checkpoint.get("state_dict", checkpoint))
    return detector.eval()


def check_teacher(
    student: BaseDetector,
    config: Config,
    landmarks: dict[str, Any],
    teacher: BaseDetector,
    teacher_config: Config | None,
    teacher_landmarks: dict[str, Any],
) -> None:
    """Refuse a teacher that sees other images or other landmarks than its student.

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
    ours, theirs = _seen(student.data_preprocessor), _seen(teacher.data_preprocessor)
    wrong = [
        f"data_preprocessor.{k} is {_said(theirs[k])} there, {_said(ours[k])} here"
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
            f"teacher and student do not see the same: {'; '.join(wrong)}. Train the teacher as its student "
            "is trained, or give the student the teacher's settings"
        )


def use_teacher(config: Config, checkpoint: str) -> None:
    """Let a config's student learn from a trained teacher; a stage that would have trained it is skipped.

    Args:
        config: With a :class:`~mmlandmark.models.detectors.DistilledDetector`, or stages of which one has it.
        checkpoint: The teacher's, see :func:`load_teacher`.

    Raises:
        ConfigError: There is no student.
    """
    nobody = f"{config.filename or 'the config'}: --teacher is for a DistilledDetector; there is none here"
    if not config.get("stages"):
        if not is_student(config):
            raise ConfigError(nobody)
        config.merge_from_dict({"model.teacher": _given(checkpoint, config.model.get("teacher"))})
        return
    stages = {stage.name: stage for stage in plan_stages(config, "work_dirs")}
    students = {name for name, stage in stages.items() if is_student(stage.config)}
    if not students:
        raise ConfigError(nobody)
    for part in config.stages:
        if part.get("skip") or part["name"] not in students:
            continue
        own = stages[part["name"]].config.model.get("teacher")
        trained = stage_of((own or {}).get("checkpoint"))
        if trained in students:  # an assistant, who is taught on the way
            continue
        model = dict(part.get("model") or {})
        planned = None if trained is None else stages[trained].config.model.to_dict()
        model["teacher"] = _given(checkpoint, own, planned)
        part["model"] = model
        if trained is not None:
            _leave_out(config, trained)


def _given(checkpoint: str, own: dict | None, planned: dict | None = None) -> dict[str, Any]:
    """Return the teacher that a checkpoint stands for.

    Its config lies beside it; else it is the one that the student names, or the model ``planned`` for it.
    """
    folder = Path(checkpoint).expanduser().parent
    beside = (folder / CONFIG_FILE).is_file() or any(folder.glob("*.py"))
    return dict(checkpoint=checkpoint, config=None if beside else (own or {}).get("config") or planned)


def _leave_out(config: Config, name: str) -> None:
    """Leave out a stage that nothing uses any more, and those before it that served nothing else."""
    stages = plan_stages(config, "work_dirs")
    users = {s.name: {later.name for later in stages if s in later.inputs} for s in stages}
    for part in config.stages:
        if part["name"] == name and not users[name]:
            part["skip"] = True
            for needed in next(s for s in stages if s.name == name).inputs:
                _leave_out(config, needed.name)


def is_student(config: Config) -> bool:
    """Whether a run trains a :class:`~mmlandmark.models.detectors.DistilledDetector`."""
    kind = (config.get("model") or {}).get("type")
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, DistilledDetector)


def stage_of(source: Any) -> str | None:
    """Return the stage that a checkpoint is to come from, or None for a file."""
    return str(source).split(":")[1] if str(source).startswith(PREFIX) else None


def _seen(preprocessor: LandmarkDataPreprocessor) -> dict[str, Any]:
    """Return what decides how an image reaches a network."""
    mean, std = torch.broadcast_tensors(preprocessor.mean, preprocessor.std)
    kept = dict(mean=mean.tolist(), std=std.tolist())
    for key in kept:  # one value for all channels is the same as that value for each
        kept[key] = kept[key][:1] if len(set(kept[key])) == 1 else kept[key]
    return kept | {"type": type(preprocessor).__name__, "channels": preprocessor.channels}


def _said(value: Any) -> Any:
    """Return numbers as a config says them, not as single precision keeps them."""
    return [float(f"{number:.6g}") for number in value] if isinstance(value, list) else value
