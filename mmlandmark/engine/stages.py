"""Configs of several stages, as plans."""

from __future__ import annotations

import copy
import difflib
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.engine.config import KNOWN_KEYS, ConfigError
from mmlandmark.engine.plan import Node


def plan_of_stages(config: Config, work_dir: str | Path) -> Node:
    """Return the group of a config's stages.

    ``stages`` is a list of dicts, each a ``name`` and the keys to merge over the rest of the config
    (``_delete_=True`` replaces a section). Strings ``run:<name>:last`` and ``run:<name>:best`` refer to
    earlier stages, see :mod:`mmlandmark.engine.plan`. A stage with ``skip=True`` is left out, and nothing may
    refer to it. The stages' folders are ``<work_dir>/<number>_<name>``.

    Raises:
        ConfigError: A name is missing, repeated, or refers to a stage that does not come before; or a stage
            has a key that no run reads.
    """
    if not config.get("stages"):
        raise ConfigError(f"{config.filename}: no stages in this config")
    stages: list[Node] = []
    skipped = frozenset(part.get("name") for part in config.stages if part.get("skip"))
    for number, part in enumerate(config.stages, 1):
        overrides = copy.deepcopy(part.to_dict() if hasattr(part, "to_dict") else dict(part))
        if overrides.pop("skip", False):
            continue
        name = overrides.pop("name", None)
        if not isinstance(name, str) or not name.isidentifier() or name in {s.name for s in stages}:
            raise ConfigError(
                f"{config.filename}: stage {number} needs a 'name' of its own (letters, digits, _), "
                f"got {name!r}"
            )
        _check_keys(overrides, config, f"{config.filename}: stage {name!r}")
        merged = Config(copy.deepcopy(config._cfg_dict), filename=config.filename)
        merged.pop("stages")
        merged.pop("per_landmark", None)
        merged.merge_from_dict(overrides)
        stages.append(Node(name, Path(work_dir) / f"{number:02d}_{name}", merged))
    return Node(Path(work_dir).name, Path(work_dir), children=stages, left_out=skipped)


def stage_named(plan: Node, name: str | None = None) -> Node:
    """Return the stage of a name, the last one for None.

    Raises:
        ConfigError: No stage has that name.
    """
    stages = [stage for stage in plan.children if name in (None, stage.name)]
    if not stages:
        raise ConfigError(f"no stage {name!r}; there are {[stage.name for stage in plan.children]}")
    return stages[-1]


def stage_to_test(config: Config, work_dir: str | Path, name: str | None = None) -> Config:
    """Return the config of a stage, the last one by default, to be tested.

    References to other runs stay: a test does not need them, and their files may be gone.

    Raises:
        ConfigError: See :func:`plan_of_stages`; or no stage has that name.
    """
    return stage_named(plan_of_stages(config, work_dir), name).ready({})


def _check_keys(overrides: dict[str, Any], config: Config, where: str) -> None:
    """Raise ConfigError for keys of a stage that no run reads; variables of the config may be changed."""
    for key in overrides:
        top = key.split(".")[0]  # dotted keys are merged, too
        of_all = top in ("stages", "per_landmark")
        if of_all or top not in KNOWN_KEYS | set(config):
            near = difflib.get_close_matches(top, KNOWN_KEYS, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near and not of_all else ""
            raise ConfigError(f"{where}: no run reads its key {key!r}{hint}")
