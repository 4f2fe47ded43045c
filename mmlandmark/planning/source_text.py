"""Python source text of the configs of plans."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mmlandmark.utils.config_source import WIDTH, assigned, on_one_line, quoted

# What MMEngine shall replace in the config of a plan.
BESIDE = "{{ fileDirname }}/"


def comment(text: str) -> str:
    """Return a sentence, without its full stop, as lines of a comment."""
    text = (text[0].upper() + text[1:] + ".").replace("{{", "{ {")
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# "))


def call(values: Mapping[str, Any]) -> str:
    """Return ``dict(...)`` as source text."""
    return literal(dict(values))


def literal(value: Any) -> str:
    """Return a value as source text; one that begins with :data:`BESIDE` stays beside the config."""
    return _beside(on_one_line(_with_tuples(value)))


def wrapped(head: str, values: Mapping[str, Any], indent: str = "") -> str:
    """Return ``head = dict(...)``, one line if it fits, else one argument a line."""
    return _beside(assigned(head, _with_tuples(values), indent, "=" if indent else " = "))


def step_list(head: str, steps: Sequence[Mapping[str, Any]], before: str = "") -> str:
    """Return ``head = [...]``, a step of a pipeline a line, behind lines that come ``before``."""
    rows = "\n".join(f"    {call(step)}," for step in steps)
    return f"{head} = [\n{before}{rows}\n]"


def _beside(source: str) -> str:
    return source.replace(quoted(BESIDE)[:-1], f'"{BESIDE}')


def _with_tuples(value: Any) -> Any:
    """Return a value with its lists as tuples: no config that is based on a plan appends to them."""
    if isinstance(value, Mapping):
        return {key: _with_tuples(entry) for key, entry in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list | tuple) else value
