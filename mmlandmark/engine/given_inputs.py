"""``--input name=FILE``: a run gets an input that the config would otherwise make or name itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.engine.config import ConfigError, value_at
from mmlandmark.engine.config_data import CONFIG_FILE, read_config_of_run
from mmlandmark.engine.plan import PREFIX, Node, is_reference, references_in, run_values
from mmlandmark.engine.stages import plan_of_stages
from mmlandmark.models.model_file import is_model_file
from mmlandmark.registry import HOOKS, MODELS
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.run_inputs import RunInput


@dataclass(frozen=True)
class Slot:
    """A place in a config that takes an input.

    Attributes:
        owner: Keys that lead to the config of the model or hook.
        keys: Where in there the file and the config stand.
    """

    owner: tuple[str | int, ...]
    keys: RunInput


def slots_of(config: Config) -> dict[str, Slot]:
    """Return what the model and the hooks of one run declare as inputs, by name."""
    sections: list[tuple[tuple[str | int, ...], Any, Any]] = [(("model",), MODELS, config.get("model"))]
    hooks = enumerate(config.get("custom_hooks") or ())
    sections += [(("custom_hooks", index), HOOKS, hook) for index, hook in hooks]
    named = (config.get("default_hooks") or {}).items()
    sections += [(("default_hooks", name), HOOKS, hook) for name, hook in named]
    return {
        name: Slot(owner, keys)
        for owner, registry, section in sections
        if isinstance(section, dict)
        for name, keys in getattr(class_of(registry, section.get("type")), "run_inputs", {}).items()
    }


def input_value(config: Config, name: str) -> Any:
    """Return the file or reference that a run's config names for an input."""
    slot = slots_of(config)[name]
    return _value(config, slot, slot.keys.file)


def class_of(registry: Any, kind: Any) -> Any:
    """Return the class that a ``type`` names, or the type itself."""
    return registry.get(kind) if isinstance(kind, str) else kind


def give_inputs(config: Config, given: Mapping[str, str | list[str]]) -> None:
    """Give a config inputs; a stage that nothing refers to any more because of that is left out.

    Args:
        config: Of one run, or with stages.
        given: Name of the input -> a file, or a reference to another run; or several where a hook takes them.

    Raises:
        ConfigError: Neither a model nor a hook takes an input of that name.
    """
    for name, source in given.items():
        if config.get("stages"):
            known = _give_stages(config, name, source)
        else:
            known = sorted(slots := slots_of(config))
            if name in slots:
                _set(config, slots[name], source, _value(config, slots[name], slots[name].keys.config))
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ConfigError(
                f"{config.filename or 'the config'}: no model and no hook takes an input {name!r} here; "
                f"{takes}"
            )


def _give_stages(config: Config, name: str, source: str | list[str]) -> list[str]:
    """Give all stages that take an input, except those that get theirs from a stage which takes it, too."""
    plan = plan_of_stages(config, "work_dirs")
    stages = {stage.name: stage for stage in plan.children}
    slots = {stage: slots_of(node.config) for stage, node in stages.items() if node.config is not None}
    for part in config.stages:
        if part.get("skip") or name not in slots[part["name"]]:
            continue
        slot = slots[part["name"]][name]
        run: Any = stages[part["name"]].config
        own = references_in(_value(run, slot, slot.keys.file))
        makers = [stages[run_name] for run_name in map(_run_of, own) if run_name in stages]
        if any(name in slots.get(maker.name, {}) for maker in makers):
            continue  # trained on the way, with the same input
        described = _value(run, slot, slot.keys.config)
        if described is None and len(makers) == 1 and makers[0].config is not None:
            described = _without_starts(makers[0].config.model.to_dict())
        if slot.owner[0] == "custom_hooks" and slot.owner[0] not in part:
            part[slot.owner[0]] = run[slot.owner[0]]  # a list is replaced as a whole
        _set(part, slot, source, described)
        for maker in makers:
            _leave_out(config, maker.name)
    return sorted({name for declared in slots.values() for name in declared})


def _value(config: Any, slot: Slot, dotted: str | None) -> Any:
    return None if dotted is None else value_at(config, (*slot.owner, *dotted.split(".")))


def _set(config: Any, slot: Slot, source: str | list[str], described: Any) -> None:
    """Write an input, and for a file its config: its own, the one beside it, or ``described``."""
    values: dict[str, Any] = {slot.keys.file: source}
    if slot.keys.config is not None and isinstance(source, str) and not is_reference(source):
        file = Path(source).expanduser()
        values[slot.keys.config] = None if _is_model(file) or _holds_config(file.parent) else described
    for dotted, value in values.items():
        node = config
        keys: list[str | int] = [*slot.owner, *dotted.split(".")]
        *path, last = keys
        for key in path:
            if not isinstance(key, int) and not isinstance(node.get(key), list | dict):
                node[key] = {}
            node = node[key]
        node[last] = value


def _without_starts(model: Any) -> Any:
    """Return a model without the weights of other runs that it starts from: a file brings its own."""
    if isinstance(model, dict):
        start = any(is_reference(value) for value in model.values())
        return None if start else {key: _without_starts(value) for key, value in model.items()}
    return [_without_starts(value) for value in model] if isinstance(model, list | tuple) else model


def _is_model(path: Path) -> bool:
    """Return whether a file is a model file, which holds its config."""
    try:
        return is_model_file(load_checkpoint(path))
    except (FileNotFoundError, ValueError):
        return False  # whoever uses the input says what is wrong with it


def _holds_config(folder: Path) -> bool:
    """Return whether a run left its config in a folder; any other Python file there is none."""
    if (folder / CONFIG_FILE).is_file():
        return True
    try:
        return read_config_of_run(folder) is not None
    except ValueError:
        return False


def _used_by(stage: Node) -> list[str]:
    """Return the names of the runs that a stage refers to, be they stages or runs of a plan around them."""
    assert stage.config is not None
    return [_run_of(text) for text in references_in(run_values(stage.config))]


def _run_of(reference: str) -> str:
    return reference.removeprefix(PREFIX).rpartition(":")[0]


def _leave_out(config: Config, name: str) -> None:
    """Leave out a stage that no other one uses, and those before it that served nothing else."""
    stages = {stage.name: _used_by(stage) for stage in plan_of_stages(config, "work_dirs").children}
    if name not in stages or any(name in used for used in stages.values()):
        return  # left out already, with another stage that needed it; or still of use
    needed = stages[name]
    for part in config.stages:
        if part["name"] == name:
            part["skip"] = True
    for other in needed:
        _leave_out(config, other)
