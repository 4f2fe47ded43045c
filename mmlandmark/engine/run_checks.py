"""What can be told of a run before it starts, above all of one of several stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config

from mmlandmark.engine.config import ConfigError, check_arguments, input_size
from mmlandmark.engine.hooks.teacher_hook import TeacherHook
from mmlandmark.engine.stages import Stage
from mmlandmark.engine.teacher import check_teacher, load_teacher, stage_of
from mmlandmark.models.detectors import DistilledDetector
from mmlandmark.registry import HOOKS, MODELS


def check_stages(stages: Sequence[Stage]) -> None:
    """Build the models of all stages, and let students meet teachers that are still to be trained.

    A mistake in the last stage is then told before the first, not hours later.

    Raises:
        ConfigError: A stage asks for the best checkpoint of one that keeps none; or as :func:`check_model`.
        FileNotFoundError: See there.
        ValueError: See there.
    """
    configs = {stage.name: stage.config for stage in stages}
    for stage in stages:
        for name in stage.best_of():
            if "save_best" not in (configs[name].get("default_hooks") or {}).get("checkpoint", {}):
                raise ConfigError(
                    f"stage {stage.name!r} starts from the best checkpoint of {name!r}, which keeps none: "
                    "set save_best in its checkpoint hook"
                )
        check_arguments(stage.config, f"stage {stage.name!r}")
        check_model(stage.config, f"stage {stage.name!r}", configs)


def check_model(config: Config, where: str, stages: Mapping[str, Config] | None = None) -> None:
    """Build a run's model, and let a student meet its teacher.

    Args:
        config: Of one run.
        where: What it is, to begin an error with.
        stages: Configs of stages that train teachers, by their names.

    Raises:
        ConfigError: The model cannot be built, or a student has no ``TeacherHook``.
        FileNotFoundError: A teacher that is not trained here does not exist.
        ValueError: As :meth:`DistilledDetector.attach_teacher`, :meth:`DistilledDetector.dry_run` or
            :func:`check_teacher`.
    """
    model = _built(config, where)
    if not isinstance(model, DistilledDetector):
        return
    kinds = [hook.get("type") for hook in config.get("custom_hooks") or ()]
    check_hook(where, kinds)
    trained = stage_of(model.teacher_cfg.get("checkpoint"))
    if trained is None:
        teacher, other, landmarks = load_teacher(model.teacher_cfg)
    else:
        other, landmarks = (stages or {})[trained], {}
        teacher = _built(other, f"stage {trained!r}")
    model.attach_teacher(teacher)
    check_teacher(model, config, {}, teacher, other, landmarks)
    rehearse(model, config)


def _built(config: Config, where: str) -> Any:
    """Build a run's model; an error says whose."""
    try:
        return MODELS.build(config.model)
    except (TypeError, ValueError, KeyError) as error:
        replaced = "; a section of another type than that which it is merged over begins with _delete_=True"
        hint = replaced if "unexpected keyword argument" in str(error) else ""
        raise ConfigError(f"{where}: {error.args[0]}{hint}") from error


def rehearse(model: DistilledDetector, config: Config) -> None:
    """Let a student compare features with its teacher's, if it is known what an image will be."""
    size, own = input_size(config), model.data_preprocessor
    if size is not None and own.channels is not None:
        model.dry_run(own.pad(torch.zeros(1, own.channels, *size)).shape[1:])


def check_hook(where: str, kinds: Sequence[Any]) -> None:
    """Raise ConfigError unless a ``TeacherHook`` is among the hooks' types, names or classes."""
    classes = [HOOKS.get(kind) if isinstance(kind, str) else kind for kind in kinds]
    if not any(isinstance(kind, type) and issubclass(kind, TeacherHook) for kind in classes):
        raise ConfigError(
            f"{where}: a DistilledDetector needs its teacher: put dict(type='TeacherHook') into custom_hooks"
        )
