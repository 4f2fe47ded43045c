"""Classes that a measured value falls into, such as skeletal class I, II and III."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmlandmark.utils.near_names import did_you_mean

_KEYS = ("label", "code", "below", "to")


def checked_classes(given: Any, where: str) -> list[dict[str, Any]]:
    """Return classes in the order of their values. Each begins where the one before it ends.

    Args:
        given: Objects with ``label``, optionally ``code`` (its number in annotation files) and its upper end:
            ``below`` (without the limit) or ``to`` (with it). The last may be open upwards.
        where: Schema and measure, for messages.

    Raises:
        ValueError: A class is not valid; ``where`` is named.
    """
    if not isinstance(given, list | tuple) or not given:
        raise ValueError(f"{where} needs a list as 'classes', got {given!r:.80}")
    last, with_last = -math.inf, False
    for place, entry in enumerate(given):
        _check_label(entry, where)
        limits = [key for key in ("below", "to") if key in entry]
        if not limits and place == len(given) - 1:
            break
        if len(limits) != 1:
            raise ValueError(f"{where} has class {entry['label']!r}, which needs 'below' or 'to', a number")
        limit, with_limit = entry[limits[0]], limits[0] == "to"
        number = isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit)
        if not number or limit < last or (limit == last and (with_last or not with_limit)):
            raise ValueError(
                f"{where} has class {entry['label']!r} up to {limit!r}, which must be a number above the end "
                "of the class before it"
            )
        last, with_last = float(limit), with_limit
    labels = [entry["label"] for entry in given]
    if len(set(labels)) != len(labels):
        raise ValueError(f"{where} has two classes of one label: {labels}")
    return [dict(entry) for entry in given]


def _check_label(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} has class {entry!r:.80}, which is no object with 'label'")
    unknown = [key for key in map(str, entry) if key not in _KEYS]
    if unknown:
        raise ValueError(
            f"{where} has a class with unknown {unknown}{did_you_mean(unknown, _KEYS)}; "
            f"known are {list(_KEYS)}"
        )
    label, code = entry.get("label"), entry.get("code", 0)
    if not isinstance(label, str) or not label.strip() or not label.isprintable():
        raise ValueError(f"{where} has class {entry!r:.80}, which needs printable text as 'label'")
    if isinstance(code, bool) or not isinstance(code, int):
        raise ValueError(f"{where} has class {label!r} with code {code!r}, which is no whole number")


def class_of(value: float, classes: Sequence[dict[str, Any]]) -> int | None:
    """Return the place of a value's class; None for NaN and beyond the last limit.

    Example:
        >>> classes = [dict(label="low", below=2), dict(label="normal", to=4.5), dict(label="high")]
        >>> [classes[class_of(value, classes)]["label"] for value in (1.9, 2, 4.5, 4.6)]
        ['low', 'normal', 'normal', 'high']
    """
    if math.isnan(value):
        return None
    for place, entry in enumerate(classes):
        end = _end(entry)
        if value < end or ("below" not in entry and value == end):
            return place
    return None


def class_limits(place: int, classes: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the lower and the upper end of a class.

    Example:
        >>> class_limits(1, [dict(label="low", below=2), dict(label="normal", to=4.5)])
        (2.0, 4.5)
    """
    return (_end(classes[place - 1]) if place else -math.inf), _end(classes[place])


def _end(entry: dict[str, Any]) -> float:
    return float(entry.get("below", entry.get("to", math.inf)))
