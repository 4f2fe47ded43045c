"""Parsing values of annotation files: numbers, points, names, sizes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
# The dataset and its pipeline use these keys of records; files have other names for some of them.
_RESERVED = {
    "sample_id": "write 'id'",
    "img_path": "write 'image'",
    "img": "write 'image'",
    "ori_shape": "write 'width' and 'height'",
    **dict.fromkeys(
        (
            *("source", "flip_pairs", "rng", "image_cache", "img_from_original", "input_from_original"),
            *(
                "input_shape",
                "pad_shape",
                "inputs",
                "data_samples",
                "half",
                "slice",
                "stack_path",
                "in_world",
                "image_source",
            ),
        ),
        "give it another name",
    ),
}
_PLAIN_NUMBERS = (int, float, np.integer, np.floating)
# Line ends, other control and invisible characters, surrogates: a list of ids has one id per line.
_NOT_IN_IDS = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def is_number(value: Any) -> bool:
    """Return whether a value of JSON is a number; ``true`` and ``"1"`` are not."""
    return isinstance(value, _PLAIN_NUMBERS) and not isinstance(value, bool)


def number_of(value: Any, where: str, what: str) -> float:
    """Return a number of JSON as a float; NaN stays.

    Raises:
        ValueError: It is not a number, or too large.
    """
    if not is_number(value):
        hint = "; write it without quotes" if isinstance(value, str) else ""
        raise ValueError(f"{where}: {what} must be a number, got {value!r:.80}{hint}")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{where}: {what} {str(value)[:20]}... is too large for a number") from error


def entries_of(value: Any) -> list[Any]:
    """Return the entries of a list, tuple or array as a list; anything else becomes a list of one."""
    if isinstance(value, np.ndarray):
        return list(np.atleast_1d(value))
    return list(value) if isinstance(value, list | tuple) else [value]


def is_text_number(cell: str) -> bool:
    """Return whether a cell of a table holds a number (with point or comma) or a mark for a missing one."""
    cell = cell.strip()
    return cell.lower() in MISSING or bool(_NUMBER.fullmatch(cell) or has_decimal_comma(cell))


def has_decimal_comma(cell: str) -> bool:
    """Return whether a cell of a table is a number with a decimal comma."""
    return _DECIMAL_COMMA.fullmatch(cell.strip()) is not None


def text_number(cell: str, where: str, decimal_comma: bool = False) -> float:
    """Return the number in a cell of a table, NaN for a mark of a missing one.

    Args:
        cell: The text.
        where: File and line, for messages.
        decimal_comma: Read ``1,5`` too.

    Raises:
        ValueError: It is not a number, or too large.
    """
    text = cell.strip()
    if text.lower() in MISSING:
        return math.nan
    if decimal_comma and has_decimal_comma(text):
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        hint = ""
        if has_decimal_comma(text):
            hint = "; decimal commas are read in tables separated by ; or tab"
        elif text.startswith("="):
            hint = "; it is a formula: save its value"
        elif text.startswith("#"):
            hint = "; it is an error of a formula"
        raise ValueError(f"{where}: {cell!r:.80} is not a number{hint}")
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{where}: {cell!r:.80} is too large for a number")
    return value


def written_number(value: Any, where: str) -> float:
    """Return a finite number from a file that may write numbers in quotes.

    Raises:
        ValueError: It is not a finite number.
    """
    number = text_number(value, where) if isinstance(value, str) else number_of(value, where, "a value")
    if not math.isfinite(number):
        raise ValueError(f"{where}: {value!r:.80} is not a finite number")
    return number


def points_of_json(value: Sequence[Any], where: str) -> np.ndarray:
    """Return (K, D) float64 points given as lists of numbers, NaN where a point or a number is null.

    Raises:
        ValueError: A point is not valid; the message names its index.
    """
    dims = 0
    for index, point in enumerate(value):
        if point is None:
            continue
        if not isinstance(point, list | tuple) or (not dims and len(point) not in (2, 3)):
            raise ValueError(
                f"{where}: landmark {index} is {point!r:.80}, expected a list of 2 or 3 numbers, or null"
            )
        dims = dims or len(point)
        if len(point) != dims:
            raise ValueError(f"{where}: landmark {index} is {point!r:.80}, expected {dims} numbers or null")
    rows = np.full((len(value), dims or 2), math.nan)
    for index, point in enumerate(value):
        for axis, number in enumerate(point or ()):
            if number is not None:
                rows[index, axis] = number_of(number, where, f"landmark {index}, {'xyz?'[min(axis, 3)]},")
    return rows


def sample_id_of(value: Any, where: str) -> str:
    """Return the id of a sample as text.

    Raises:
        ValueError: It is neither text nor a number, or cannot be a line of a list of ids.
    """
    text = label_of(value, where, "id")
    wrong = [c for c in text if unicodedata.category(c) in _NOT_IN_IDS]
    if wrong or text != text.strip() or not text:
        raise ValueError(
            f"{where}: the id {text!r:.80} is empty, begins or ends with a blank, or contains a line end or "
            "another invisible character; lists of ids have one id per line"
        )
    return text


def id_of_name(name: str) -> str:
    """Return the name of an image as an id: ``_`` for what :func:`sample_id_of` refuses.

    Example:
        >>> id_of_name(" film 1 ")
        '_film 1_'
    """
    text = "".join("_" if unicodedata.category(c) in _NOT_IN_IDS else c for c in name)
    inner = text.strip()
    begin = text.find(inner)
    return "_" * begin + inner + "_" * (len(text) - begin - len(inner))


def label_of(value: Any, where: str, what: str) -> str:
    """Return a label, such as the name of a group, as text.

    Raises:
        ValueError: It is neither text nor a number.
    """
    whole = isinstance(value, int | np.integer)
    if not isinstance(value, str) and not (is_number(value) and (whole or math.isfinite(value))):
        raise ValueError(f"{where}: {what} must be text or a number, got {value!r:.80}")
    return str(value)


def size_of(width: Any, height: Any, where: str, depth: Any = None) -> tuple[int, ...] | None:
    """Return the (*S) of an image or, with a depth, of a volume; None if neither width nor height is given.

    Raises:
        ValueError: Only one of width and height is given, or a side is not a whole number.
    """
    if width is None and height is None:
        return None
    if width is None or height is None:
        raise ValueError(f"{where}: 'width' and 'height' must be given together")
    sides = []
    for name, side in (("depth", depth), ("height", height), ("width", width)):
        if side is None:
            continue  # an image has no depth
        number = number_of(side, where, name)
        if not (math.isfinite(number) and number == int(number)):
            raise ValueError(f"{where}: {name} must be whole pixels, got {side!r}")
        sides.append(int(number))
    return tuple(sides)


def is_reserved(key: str) -> bool:
    """Return whether a key of records has its meaning inside of this package, so that no file may have it."""
    return key in _RESERVED


def refuse_reserved(keys: Iterable[str], where: str) -> None:
    """Raise ValueError if a key of a file is reserved for use inside of records."""
    for key in keys:
        if is_reserved(key):
            raise ValueError(f"{where}: {key!r} is a reserved name; {_RESERVED[key]}")
