"""Text of a config, as people write it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

WIDTH = 110


def config_source(values: Mapping[str, Any]) -> str:
    """Return a Python config with these values, sorted by their names; what fits is on one line.

    It takes milliseconds. MMEngine has its text formatted by yapf, which takes seconds for a config of some
    hundred lines, and writes it into every checkpoint.

    Args:
        values: Name -> value of plain types.
    """
    return "".join(f"{assigned(name, _sorted(values[name]))}\n" for name in sorted(values))


def assigned(name: str, value: Any, indent: str = "", between: str = " = ") -> str:
    """Return ``name = value``, on one line if it fits, else with a line for each item of the value.

    Args:
        name: What the value is given to.
        value: The value.
        indent: Of the line.
        between: The sign of equality.
    """
    head = f"{indent}{name}{between}"
    return head + _source(value, indent, len(head) - len(indent))


def on_one_line(value: Any) -> str:
    """Return a value as source text without a line break."""
    opening, closing, items = _parts(value)
    comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
    return opening + ", ".join(name + on_one_line(item) for name, item in items) + comma + closing


def quoted(text: str) -> str:
    """Return a text between double quotes, whatever letters it has.

    MMEngine replaces what stands in ``{{ }}`` anywhere in a config, so the second brace is written by its
    code.
    """
    source = json.dumps(text, ensure_ascii=False).replace("{{", r"{\x7b")
    # Bytes of a file name that are no UTF-8.
    return re.sub("[\ud800-\udfff]", lambda lone: rf"\u{ord(lone[0]):04x}", source)


def _source(value: Any, indent: str, before: int) -> str:
    """Return a value on one line, or with a line for each of its items.

    Args:
        value: The value.
        indent: Of the line that it begins in.
        before: Characters between the indent and the value.
    """
    opening, closing, items = _parts(value)
    flat = on_one_line(value)
    if not items or len(indent) + before + len(flat) < WIDTH:
        return flat
    inner = indent + " " * 4
    lines = (f"{inner}{name}{_source(item, inner, len(name))},\n" for name, item in items)
    return f"{opening}\n{''.join(lines)}{indent}{closing}"


def _parts(value: Any) -> tuple[str, str, list[tuple[str, Any]]]:
    """Return how a value begins and ends, and its items, each with what is before it."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value):
            return "dict(", ")", [(f"{key}=", item) for key, item in value.items()]
        return "{", "}", [(f"{on_one_line(key)}: ", item) for key, item in value.items()]
    if isinstance(value, list):
        return "[", "]", [("", item) for item in value]
    if isinstance(value, tuple):
        return "(", ")", [("", item) for item in value]
    return quoted(value) if isinstance(value, str) else repr(value), "", []


def _sorted(value: Any) -> Any:
    """Return a value whose mappings begin with their type and have their other names in order."""
    if isinstance(value, Mapping):
        names = list(value)
        if all(isinstance(name, str) for name in names):
            names.sort(key=lambda name: (name != "type", name))
        return {name: _sorted(value[name]) for name in names}
    return type(value)(map(_sorted, value)) if isinstance(value, list | tuple) else value
