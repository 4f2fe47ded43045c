"""The plan of a config: one run, its stages, or a model per landmark."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmlandmark.engine.joined_landmarks import JoinStep
from mmlandmark.engine.per_landmark import chosen_landmarks, landmark_schema, of_landmarks
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

    If these are all, one detector is made of their models in the end, see
    :class:`~mmlandmark.engine.joined_landmarks.JoinStep`.

    Args:
        config: With ``per_landmark``, and perhaps stages.
        folder: Of the group.

    Raises:
        ConfigError: There is no such landmark, or the model is for another number of them.
    """
    total, children = len(landmark_schema(config)), []
    chosen = chosen_landmarks(config)
    for name, place in chosen.items():
        own = Config(copy.deepcopy(config._cfg_dict), filename=config.filename)
        own.pop("per_landmark")
        node = plan_of_run(own, Path(folder) / f"{place:02d}_{safe_name(name)}")
        for run in node.runs():
            assert run.config is not None
            run.config = of_landmarks(run.config, [name], total)
        children.append(node)
    steps = [JoinStep(config)] if len(chosen) == total else []
    return Node(Path(folder).name, Path(folder), children=children, steps=steps, one_model=False)
