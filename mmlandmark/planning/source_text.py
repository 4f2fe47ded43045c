"""Python source text of configs."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 108
# MMEngine replaces what stands in {{ }} anywhere in a config; this is the only one that a plan wants.
BESIDE = "{{ fileDirname }}/"


def comment(text: str) -> str:
    """Return a sentence, without its full stop, as lines of a comment."""
    text = (text[0].upper() + text[1:] + ".").replace("{{", "{ {")
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# "))


def call(values: Mapping[str, Any]) -> str:
    """Return ``dict(...)`` as source text."""
    return f"dict({', '.join(f'{key}={literal(value)}' for key, value in values.items())})"


def literal(value: Any) -> str:
    """Return a value as source text; one that begins with :data:`BESIDE` stays beside the config."""
    if isinstance(value, Mapping):
        return call(value)
    if isinstance(value, str):
        kept = BESIDE if value.startswith(BESIDE) else ""
        return f'"{kept}{_escaped(value.removeprefix(kept))}"'
    if isinstance(value, list | tuple):
        inner = ", ".join(literal(entry) for entry in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _escaped(text: str) -> str:
    """Return a text as it stands between double quotes, whatever letters it has."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1].replace("{{", r"{\x7b")
    # Bytes of a file name that are no UTF-8.
    return re.sub("[\ud800-\udfff]", lambda lone: rf"\u{ord(lone[0]):04x}", quoted)


def wrapped(head: str, values: Mapping[str, Any], indent: str = "") -> str:
    """Return ``head = dict(...)``, one line if it fits, else one argument a line."""
    between = "=" if indent else " = "
    line = f"{indent}{head}{between}{call(values)}"
    if len(line) <= WIDTH:
        return line
    inner = indent + "    "
    rows = [
        wrapped(key, value, inner) if isinstance(value, Mapping) else f"{inner}{key}={literal(value)}"
        for key, value in values.items()
    ]
    return "\n".join([f"{indent}{head}{between}dict(", *(f"{row}," for row in rows), f"{indent})"])


def step_list(head: str, steps: Sequence[Mapping[str, Any]], before: str = "") -> str:
    """Return ``head = [...]``, a step of a pipeline a line, behind lines that come ``before``."""
    rows = "\n".join(f"    {call(step)}," for step in steps)
    return f"{head} = [\n{before}{rows}\n]"
