"""One model per landmark: which landmarks a config with ``per_landmark`` has, and the config of each.

``per_landmark = True`` trains every landmark by itself: all stages of the config, in which the data sets and
the model know that landmark alone. A list of names trains those. :mod:`mmlandmark.engine.run_plans` makes the
plan, and :mod:`mmlandmark.engine.joined_landmarks` one detector of the models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine.config import KNOWN_KEYS, ConfigError
from mmlandmark.engine.given_inputs import class_of
from mmlandmark.engine.stages import plan_of_stages
from mmlandmark.registry import DATASETS, HOOKS, TRANSFORMS, NotRegisteredError, Registry
from mmlandmark.structures import LandmarkSchema
from mmlandmark.utils.dataset_tree import bare_dataset, leaf_configs
from mmlandmark.utils.near_names import did_you_mean

_LOADERS = ("test_dataloader", "val_dataloader", "train_dataloader")


def landmark_schema(config: Config) -> LandmarkSchema:
    """Return the landmarks of a config's data; annotations are read, but no image.

    Raises:
        ConfigError: There is no data set with landmarks.
        FileNotFoundError: The annotation does not exist.
    """
    parts = [config, *reversed(config.get("stages") or ())]
    sets = [part[loader].get("dataset") for part in parts for loader in _LOADERS if part.get(loader)]
    for leaf in (leaf for one in sets if one for leaf in leaf_configs(one)):
        if _has_landmarks(leaf):
            return DATASETS.build(dict(bare_dataset(leaf), lazy_init=True)).schema
    raise ConfigError(
        f"{config.filename}: per_landmark needs a data set with landmarks, see docs/datasets.md"
    )


def chosen_landmarks(config: Config) -> dict[str, int]:
    """Return the landmarks that a config with ``per_landmark`` is for: name -> place among all.

    Raises:
        ConfigError: One is unknown; near names are listed.
    """
    names, wanted = landmark_schema(config).landmarks, config.per_landmark
    if wanted is True:
        return {name: k for k, name in enumerate(names)}
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted:
        raise ConfigError(
            f"{config.filename}: per_landmark names {unknown or 'nothing'}{did_you_mean(unknown, names)}; "
            f"landmarks are {', '.join(names)}"
        )
    return {name: k for k, name in enumerate(names) if name in wanted}


def choose_landmarks(config: Config, text: str) -> None:
    """Let a config with ``per_landmark`` be for these landmarks, whichever it names itself.

    Args:
        config: Changed in place.
        text: Names, places from 0 on, and ranges of places, joined by commas: ``0-18``, ``0,3,nasion``.

    Raises:
        ConfigError: The config is not one with ``per_landmark``, or there is no such landmark.
    """
    if not config.get("per_landmark"):
        raise ConfigError(f"{config.filename}: --landmarks is for a config with per_landmark=True")
    names, chosen = landmark_schema(config).landmarks, set[int]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if part in names:
            chosen.add(names.index(part))
        elif span is not None and int(span[1]) <= (last := int(span[2] or span[1])) < len(names):
            chosen |= set(range(int(span[1]), last + 1))
        else:
            raise ConfigError(
                f"--landmarks {text}: {part!r} is no landmark{did_you_mean([part], names)}; they are 0 to "
                f"{len(names) - 1}: {', '.join(names)}"
            )
    if not chosen:
        raise ConfigError(f"--landmarks {text!r} names no landmark")
    everything = len(chosen) == len(names)
    config.per_landmark = everything or [name for k, name in enumerate(names) if k in chosen]


def unlearnable_landmarks(config: Config) -> dict[str, str]:
    """Return the landmarks that a hook of the config says cannot be learnt, and why."""
    stages = plan_of_stages(config, "work_dirs").children if config.get("stages") else ()
    found: dict[str, str] = {}
    for run in [stage.config for stage in stages if stage.config is not None] or [config]:
        for hook in run.get("custom_hooks") or ():
            if hasattr(class_of(HOOKS, hook.get("type")), "left_out"):
                found |= HOOKS.build(hook).left_out(run)
    return found


def of_landmarks(config: Config, names: Sequence[str], schema: LandmarkSchema) -> Config:
    """Return the config of one run for some of its landmarks.

    Every data set of the config is restricted to them, wherever it stands, and so is what the model is told
    about their number.

    Args:
        config: Without stages.
        names: Of the landmarks.
        schema: Of all landmarks.

    Raises:
        ConfigError: The model is for another number of landmarks than the data; or images are mirrored that
            show a landmark without its partner.
    """
    content = config._cfg_dict.to_dict()
    content.pop("per_landmark", None)
    for key in KNOWN_KEYS & set(content):
        content[key] = _restricted(content[key], list(names))
    counts = set[int]()
    content["model"] = _counted(content["model"], len(names), counts)
    others = counts - {len(schema)}
    if others:
        raise ConfigError(
            f"{config.filename}: num_landmarks of the model is {max(others)}, the data has {len(schema)}: "
            "give the number of all, of which every model gets its share"
        )
    pairs = [(schema.landmarks[a], schema.landmarks[b]) for a, b in schema.flip_pairs]
    alone = next((pair for pair in pairs if len({*pair} & {*names}) == 1), None)
    if alone is not None and _swaps_partners(content.get("train_dataloader")):
        raise ConfigError(
            f"{config.filename}: images are mirrored, where {alone[0]!r} looks like {alone[1]!r}, and one "
            "model cannot learn both: take RandomFlip out of the pipeline"
        )
    return Config(content, filename=config.filename)


def _has_landmarks(section: Any) -> bool:
    """Whether this is the config of a data set of landmarks."""
    kind = _class_of(DATASETS, section)
    return isinstance(kind, type) and issubclass(kind, LandmarkDataset)


def _swaps_partners(value: Any) -> bool:
    """Whether a step of a pipeline anywhere in a part of a config mirrors images."""
    if isinstance(value, Mapping):
        own = getattr(_class_of(TRANSFORMS, value), "swaps_partners", False)
        return own or any(_swaps_partners(one) for one in value.values())
    return isinstance(value, list | tuple) and any(_swaps_partners(one) for one in value)


def _class_of(registry: Registry, section: Any) -> Any:
    """Return the class of a section of a config, None if it is no such part."""
    if not isinstance(section, Mapping) or "type" not in section:
        return None
    try:
        return class_of(registry, section["type"])
    except NotRegisteredError:
        return None


def _restricted(value: Any, names: list[str]) -> Any:
    """Return a part of a config with all data sets in it restricted to some landmarks."""
    if isinstance(value, Mapping):
        inside = {key: _restricted(one, names) for key, one in value.items()}
        return {**inside, "landmarks": list(names)} if _has_landmarks(value) else inside
    if isinstance(value, list | tuple):
        return type(value)(_restricted(one, names) for one in value)
    return value


def _counted(value: Any, number: int, counts: set[int]) -> Any:
    """Return a part of the model for another number of landmarks, and note those that it was for."""
    if isinstance(value, Mapping):
        changed = {key: _counted(one, number, counts) for key, one in value.items()}
        if isinstance(value.get("num_landmarks"), int):
            counts.add(value["num_landmarks"])
            changed["num_landmarks"] = number
        return changed
    if isinstance(value, list | tuple):
        return type(value)(_counted(one, number, counts) for one in value)
    return value
