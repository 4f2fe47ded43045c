"""Text of a config, as people write it."""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

_WIDTH = 110


def config_source(values: Mapping[str, Any]) -> str:
    """Return a Python config with these values, sorted by their names; what fits is on one line.

    It takes milliseconds. MMEngine has its text formatted by yapf, which takes seconds for a config of some
    hundred lines, and writes it into every checkpoint.

    Args:
        values: Name -> value of plain types.
    """
    return "".join(f"{name} = {_source(values[name], '', len(name) + 3)}\n" for name in sorted(values))


def _source(value: Any, indent: str, before: int) -> str:
    """Return a value on one line, or with a line for each of its items.

    Args:
        value: The value.
        indent: Of the line that it begins in.
        before: Characters between the indent and the value.
    """
    opening, closing, items = _parts(value)
    flat = _on_one_line(value)
    if not items or len(indent) + before + len(flat) < _WIDTH:
        return flat
    inner = indent + " " * 4
    lines = (f"{inner}{name}{_source(item, inner, len(name))},\n" for name, item in items)
    return f"{opening}\n{''.join(lines)}{indent}{closing}"


def _on_one_line(value: Any) -> str:
    opening, closing, items = _parts(value)
    comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
    return opening + ", ".join(name + _on_one_line(item) for name, item in items) + comma + closing


def _parts(value: Any) -> tuple[str, str, list[tuple[str, Any]]]:
    """Return how a value begins and ends, and its items, each with what is before it."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value):
            return "dict(", ")", [(f"{key}=", value[key]) for key in _type_first(value)]
        return "{", "}", [(f"{key!r}: ", item) for key, item in value.items()]
    if isinstance(value, list):
        return "[", "]", [("", item) for item in value]
    if isinstance(value, tuple):
        return "(", ")", [("", item) for item in value]
    return repr(value), "", []


def _type_first(keys: Mapping[str, Any]) -> list[str]:
    return sorted(keys, key=lambda key: (key != "type", key))
