"""Assembly of a model from its parts: channels and dimensions are handed on from part to part."""

from __future__ import annotations

import inspect
from typing import Any

from mmengine.registry import Registry
from torch import nn

from mmlandmark.registry import MODELS


def takes(kind: Any, argument: str) -> bool:
    """Whether the constructor of a class, or a class above it by way of ``**kwargs``, takes an argument."""
    for base in getattr(kind, "__mro__", ()):
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        if argument in parameters:
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return False
    return False


def filled(registry: Registry, config: dict, **known: Any) -> dict:
    """Return a part's config with arguments that are known elsewhere, unless it gives them itself.

    Args:
        registry: Where the part's ``type`` is registered.
        config: Of the part.
        known: Arguments by name; ignored where the class does not take them, or the value is None.
    """
    kind = config.get("type")
    kind = registry.get(kind) if isinstance(kind, str) else kind
    more = {
        name: value
        for name, value in known.items()
        if value is not None and name not in config and takes(kind, name)
    }
    return dict(config, **more)


def _parts_instead(kind: type) -> str:
    """Return what to use in place of a part that knows one dimension only: those beside it that know both."""
    room = kind.__module__.rpartition(".")[0]
    others = sorted(
        name
        for name, other in MODELS.module_dict.items()
        if other.__module__.rpartition(".")[0] == room and takes(other, "dims")
    )
    return f"use {' or '.join(others)}" if others else "choose a part that takes dims"


def build_part(config: dict, dims: int | None = None, behind: nn.Module | None = None) -> Any:
    """Build a backbone, neck or head.

    Args:
        config: Of the part.
        dims: Spatial dimensions of the images, handed on to a part that takes ``dims``; None leaves it to the
            parts.
        behind: The part before it: its ``out_channels`` are the new part's ``in_channels``, unless given.

    Raises:
        ValueError: ``behind`` has no ``out_channels``, or the part has another ``dims``.
    """
    if behind is not None and "in_channels" not in config:
        if not hasattr(behind, "out_channels"):
            raise ValueError(
                f"{type(behind).__name__} does not say its out_channels: give in_channels of "
                f"{config.get('type')}"
            )
        channels: Any = behind.out_channels
        config = dict(config, in_channels=list(channels))
    part: Any = MODELS.build(filled(MODELS, config, dims=dims))
    own = getattr(part, "dims", None)
    if None not in (dims, own) and own != dims:
        cure = "leave its dims out" if "dims" in config else _parts_instead(type(part))
        raise ValueError(f"{type(part).__name__} is for {own}D images, the model's dims is {dims}: {cure}")
    return part
