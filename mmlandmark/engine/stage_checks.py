"""What can be told of a run of several stages before the first one starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config

from mmlandmark.engine.config import ConfigError, input_size
from mmlandmark.engine.hooks.teacher_hook import TeacherHook
from mmlandmark.engine.stages import Stage
from mmlandmark.engine.teacher import check_teacher, load_teacher, stage_of
from mmlandmark.models.detectors import DistilledDetector
from mmlandmark.registry import HOOKS, MODELS


def check_stages(stages: Sequence[Stage]) -> None:
    """Build the models of all stages, and let students meet teachers that are still to be trained.

    A mistake in the last stage is then told before the first, not hours later.

    Raises:
        ConfigError: A student has no ``TeacherHook``, or a stage asks for the best checkpoint of one that
            keeps none.
        FileNotFoundError: A teacher that is not trained here does not exist.
        ValueError: As building the model, :meth:`DistilledDetector.attach_teacher`,
            :meth:`DistilledDetector.rehearse` or :func:`check_teacher`.
    """
    configs = {stage.name: stage.config for stage in stages}
    for stage in stages:
        for name in stage.best_of():
            if "save_best" not in (configs[name].get("default_hooks") or {}).get("checkpoint", {}):
                raise ConfigError(
                    f"stage {stage.name!r} starts from the best checkpoint of {name!r}, which keeps none: "
                    "set save_best in its checkpoint hook"
                )
        model = MODELS.build(stage.config.model)
        if not isinstance(model, DistilledDetector):
            continue
        kinds = [hook.get("type") for hook in stage.config.get("custom_hooks") or ()]
        check_hook(f"stage {stage.name!r}", kinds)
        source = model.teacher_cfg.get("checkpoint")
        trained = stage_of(source)
        if trained is None:
            teacher, other, landmarks = load_teacher(model.teacher_cfg)
        else:
            teacher, other, landmarks = MODELS.build(configs[trained].model), configs[trained], {}
        model.attach_teacher(teacher)
        check_teacher(model, stage.config, {}, teacher, other, landmarks)
        rehearse(model, stage.config)


def rehearse(model: DistilledDetector, config: Config) -> None:
    """Let a student compare features with its teacher's, if it is known what an image will be."""
    size, own = input_size(config), model.data_preprocessor
    if size is not None and own.channels is not None:
        model.rehearse(own.pad(torch.zeros(1, own.channels, *size)).shape[1:])


def check_hook(where: str, kinds: Sequence[Any]) -> None:
    """Raise ConfigError unless a ``TeacherHook`` is among the hooks' types, names or classes."""
    classes = [HOOKS.get(kind) if isinstance(kind, str) else kind for kind in kinds]
    if not any(isinstance(kind, type) and issubclass(kind, TeacherHook) for kind in classes):
        raise ConfigError(
            f"{where}: a DistilledDetector needs its teacher: put dict(type='TeacherHook') into custom_hooks"
        )
