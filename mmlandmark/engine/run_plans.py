"""The plan of a config: one run, its stages, or a model per landmark."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.joined_landmarks import JoinStep
from mmlandmark.engine.per_landmark import (
    chosen_landmarks,
    landmark_schema,
    of_landmarks,
    unlearnable_landmarks,
)
from mmlandmark.engine.plan import Node, Step
from mmlandmark.engine.stages import plan_of_stages
from mmlandmark.utils.files import safe_name


def plan_of_run(
    config: Config,
    folder: str | Path,
    name: str | None = None,
    steps: Sequence[Step] = (),
    wanted: bool = True,
) -> Node:
    """Return the plan of a config: one run, a group of stages, or a group of landmarks, each with its own.

    Args:
        config: With or without ``stages`` and ``per_landmark``.
        folder: Its work folder.
        name: Of the node; the folder's by default.
        steps: What follows the training, or the last stage.
        wanted: See :class:`Node`.

    Raises:
        ConfigError: See :func:`plan_of_stages` and :func:`plan_of_landmarks`.
    """
    if config.get("per_landmark"):
        group = plan_of_landmarks(config, folder)
    elif config.get("stages"):
        group = plan_of_stages(config, folder)
    else:
        return Node(name or Path(folder).name, Path(folder), config, steps=steps, wanted=wanted)
    # A step such as a test joins the models of landmarks by itself, unless it is on record.
    group.name, group.steps, group.wanted = name or group.name, steps or group.steps, wanted
    return group


def plan_of_landmarks(config: Config, folder: str | Path) -> Node:
    """Return the group of the runs of all landmarks that a config is for, each in a folder of its own.

    One that cannot be learnt, such as one that no template shows, is named and not trained. Unless the config
    names some landmarks only, one detector is made of all models in the end, see
    :class:`~mmlandmark.engine.joined_landmarks.JoinStep`.

    Args:
        config: With ``per_landmark``, and perhaps stages.
        folder: Of the group.

    Raises:
        ConfigError: There is no such landmark, none can be learnt, or the model is for another number.
    """
    schema, children, left_out = landmark_schema(config), [], unlearnable_landmarks(config)
    for name, place in chosen_landmarks(config).items():
        own = Config(copy.deepcopy(config._cfg_dict), filename=config.filename)
        own.pop("per_landmark")
        node = plan_of_run(own, Path(folder) / f"{place:02d}_{safe_name(name)}")
        for run in node.runs():
            assert run.config is not None
            run.config = of_landmarks(run.config, [name], schema)
        if name in left_out:
            node.wanted, node.remark = False, left_out[name]
            print_log(f"{name!r} is left out: {left_out[name]}", "current", logging.WARNING)
        children.append(node)
    if not any(node.wanted for node in children):
        raise ConfigError(f"{config.filename}: no landmark can be learnt: {next(iter(left_out.values()))}")
    steps = [JoinStep(config)] if config.per_landmark is True else []
    return Node(Path(folder).name, Path(folder), children=children, steps=steps, one_model=False)
