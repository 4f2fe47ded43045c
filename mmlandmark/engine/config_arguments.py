"""Checks that the classes named in a config take the arguments given there."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from torch.utils.data import DataLoader

from mmlandmark import registry
from mmlandmark.utils.near_names import near_name

# Their builders remove some keys first, so an unknown key is an error only if it resembles a known one.
_OPEN = ("optim_wrapper", "param_scheduler", "default_hooks", "custom_hooks", "visualizer", "vis_backends")
_OF_CONFIGS = {"type", "_scope_", "_delete_"}


def wrong_arguments(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message for every wrong argument in a config: the section, its class and the nearest argument.

    A key is wrong if the class that ``type`` names does not take it. If the class passes further arguments
    on, or the builder of the section removes keys, a key is wrong only if it resembles one that is known.

    Args:
        config: A whole config.
    """
    for key, section in config.items():
        known = _untyped(key, section)
        if known is not None:
            yield from _compared(key, section, *known)
        yield from _walk(key, section)


def _walk(where: str, node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("type"), str) or inspect.isclass(node.get("type")):
            names, known, complete = _arguments(node["type"])
            if known:
                complete = complete and where.split(".")[0].split("[")[0] not in _OPEN
                yield from _compared(where, node, names, known, complete)
        for key, value in node.items():
            yield from _walk(f"{where}.{key}", value)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _walk(f"{where}[{index}]", value)


def _compared(
    where: str, section: Mapping, name: str, known: frozenset[str], complete: bool
) -> Iterator[str]:
    for key in section:
        if key in known or key in _OF_CONFIGS:
            continue
        wrong = f"{where} ({name}) got an unexpected keyword argument {key!r}"
        near = near_name(str(key), known)
        if near is not None:
            yield f"{wrong}; did you mean {near!r}?"
        elif complete:
            yield f"{wrong}; it takes {', '.join(sorted(known)) or 'none'}"


def _arguments(kind: Any) -> tuple[str, frozenset[str], bool]:
    """Return the name of the class of a ``type``, the arguments it takes, and whether these are all."""
    classes = [kind] if inspect.isclass(kind) else _registered(kind)
    known: set[str] = set()
    complete = bool(classes)
    for candidate in classes:
        own, own_complete = arguments_of(candidate)
        known |= own
        complete = complete and own_complete
    name = getattr(kind, "__name__", str(kind))
    return name, frozenset(known), complete


def arguments_of(kind: Any) -> tuple[set[str], bool]:
    """Return the names of the arguments of a class or function, and whether these are all.

    ``**kwargs`` adds those of the base classes. The list is complete only without it, since further arguments
    may go elsewhere.
    """
    inits = [vars(base)["__init__"] for base in getattr(kind, "__mro__", ()) if "__init__" in vars(base)]
    known: set[str] = set()
    for number, step in enumerate(inits if inspect.isclass(kind) else [kind]):
        if step is object.__init__:
            return known, number == 0
        parameters = inspect.signature(step).parameters.values()
        known |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - {"self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return known, number == 0
    return known, False


def _registered(name: str) -> list[Any]:
    """Return the classes and functions registered under a name in any registry, or at a dotted path."""
    if "." in name:
        with contextlib.suppress(registry.NotRegisteredError):
            return [registry.MODELS.get(name)]
        return []
    registered = []
    for one in vars(registry).values():
        if isinstance(one, registry.Registry):
            one.import_from_location()
            upper = {} if one.parent is None else one.parent.module_dict
            registered.append(one.module_dict.get(name, upper.get(name)))
    return [kind for kind in registered if inspect.isclass(kind) or inspect.isfunction(kind)]


def _untyped(key: str, section: Any) -> tuple[str, frozenset[str], bool] | None:
    """Return the same of a section without ``type``; None if it is not known."""
    if not isinstance(section, Mapping) or "type" in section:
        return None
    if key.endswith("_dataloader"):
        more = {"dataset", "unlabelled", "num_batch_per_epoch", "disable_subprocess_warning"}
        return "DataLoader", frozenset(inspect.signature(DataLoader.__init__).parameters) | more, False
    if key == "train_cfg":
        loop = EpochBasedTrainLoop if section.get("by_epoch", True) else IterBasedTrainLoop
        return loop.__name__, frozenset(arguments_of(loop)[0] | {"by_epoch"}), True
    loops = {"val_cfg": ValLoop, "test_cfg": TestLoop, "log_processor": LogProcessor}
    if key in loops:
        return loops[key].__name__, frozenset(arguments_of(loops[key])[0]), True
    if key == "randomness":
        return "the runner", frozenset(inspect.signature(Runner.set_randomness).parameters) - {"self"}, True
    if key == "env_cfg":
        known = "cudnn_benchmark mp_cfg dist_cfg resource_limit keep_freed_memory verbose"
        own = ("rank_silence", "rank_stall", "log_mib", "pictures_mib")
        return "the runner", frozenset([*known.split(), *own]), False
    return None
