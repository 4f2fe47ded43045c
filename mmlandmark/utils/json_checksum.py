"""A checksum inside of a JSON file, so that no damage to what a run goes on from passes in silence.

The last key of such a file is ``sha256``, with the SHA-256 of the other ones as :func:`json.dumps` writes
them, in their order. A program may write the file with other blanks and line ends; a changed value is found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY = "sha256"
# Begins the value, so that a file in which the key itself is damaged is known, too.
MARK = "mmlandmark-sha256:"
_LENGTH = len(MARK) + 64
_PART = 1 << 20  # characters that are hashed at once: no second copy of a large text is made


class ChecksumError(ValueError):
    """A file is not what was written."""


def with_checksum(content: Mapping[str, Any], indent: int | None = None) -> str:
    """Return an object as JSON text with its checksum, without a line end.

    Args:
        content: The object, without the key ``sha256``.
        indent: Of the text; None writes one line.

    Raises:
        ValueError: The object has the key already, or a number that is NaN or infinite.

    Example:
        >>> with_checksum(dict(mre=2.5))[:44]
        '{"mre": 2.5, "sha256": "mmlandmark-sha256:f3'
    """
    if KEY in content:
        raise ValueError(f"the key {KEY!r} is that of the checksum, and cannot be one of the content")
    body = json.dumps(content, allow_nan=False)
    stated = MARK + _hash(body)
    if indent is None:
        return body[:-1] + ", " * bool(content) + f'"{KEY}": "{stated}"}}'
    return json.dumps({**content, KEY: stated}, indent=indent, allow_nan=False)


def without_checksum(content: Any, text: str) -> Any:
    """Return the content of a JSON file without its checksum; one that has none is returned as it is.

    Args:
        content: What the text says.
        text: Of the file.

    Raises:
        ChecksumError: The checksum is not that of the content.
    """
    if not isinstance(content, dict):
        return content
    marked = [key for key, value in content.items() if _is_stated(key, value)]
    if not marked:
        return content
    rest = {key: value for key, value in content.items() if key != KEY}
    if marked != [KEY] or not (
        _is_written(text, content[KEY]) or content[KEY] == MARK + _hash(json.dumps(rest))
    ):
        raise ChecksumError("the file is damaged, its SHA-256 is not the one that was written")
    return rest


def _is_stated(key: str, value: Any) -> bool:
    """Whether an entry is a checksum, of which a part may be damaged."""
    return isinstance(value, str) and (value.startswith(MARK) or (key == KEY and len(value) == _LENGTH))


def _is_written(text: str, stated: str) -> bool:
    """Whether a text is one line as it was written: this is known without writing its content again."""
    end = f', "{KEY}": "{stated}"}}'
    length = len(text.rstrip()) - len(end)
    return text.startswith(end, length) and stated == MARK + _hash(text, length, "}")


def _hash(text: str, length: int | None = None, end: str = "") -> str:
    """Return the SHA-256 of the first characters of a text, and of an end."""
    digest, length = hashlib.sha256(), len(text) if length is None else length
    for start in range(0, length, _PART):
        digest.update(text[start : min(start + _PART, length)].encode("utf-8", "surrogatepass"))
    digest.update(end.encode())
    return digest.hexdigest()
