"""Whether two sets of landmarks are the same: one rule for data sets, checkpoints and teachers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NUMBERED = re.compile(r"landmark_\d+")


def names_of(metainfo: Mapping[str, Any] | None) -> list[str] | None:
    """Return the landmarks' names that a data set or a checkpoint brings, None where it brings none.

    Args:
        metainfo: Of a data set, or ``meta.dataset_meta`` of a checkpoint; anything but a list of names under
            ``landmark_names`` counts as none.
    """
    names = metainfo.get("landmark_names") if isinstance(metainfo, Mapping) else None
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    return list(names)


def only_numbered(names: Sequence[str]) -> bool:
    """Whether these are the names of landmarks that have none, ``landmark_1``, ``landmark_2``, ..."""
    return all(_NUMBERED.fullmatch(name) for name in names)


def name_difference(there: Sequence[str] | None, here: Sequence[str] | None) -> str | None:
    """Say how two sets of landmarks differ; None if a point of one means the same in the other.

    Landmarks match by name, one by one in their order. Where one side has no names, or only numbers and the
    other has names, their number alone is compared.

    Args:
        there: Names of one side, None where it has none.
        here: Of the other.

    Returns:
        What differs, in words that call the sides "there" and "here".

    Example:
        >>> name_difference(["a", "b", "c"], ["c", "b", "a"])
        "the same landmarks in another order: landmark 0 is 'a' there and 'c' here"
        >>> name_difference(["landmark_1", "landmark_2"], ["a", "b"]) is None
        True
    """
    if there is None or here is None:
        return None
    there, here = list(there), list(here)
    if there == here:
        return None
    if len(there) == len(here) and only_numbered(there) != only_numbered(here):
        return None
    if len(there) == len(here):
        first = next(i for i, (a, b) in enumerate(zip(there, here, strict=True)) if a != b)
        order = "the same landmarks in another order: " if sorted(there) == sorted(here) else ""
        return f"{order}landmark {first} is {there[first]!r} there and {here[first]!r} here"
    lost, new = [n for n in there if n not in here], [n for n in here if n not in there]
    parts = [f"{_some(lost)} only there"] * bool(lost) + [f"{_some(new)} only here"] * bool(new)
    return f"{len(there)} landmarks there, {len(here)} here: " + ", ".join(parts)


def names_cure(there: Sequence[str] | None, here: Sequence[str] | None, where: str) -> str:
    """Return the sentence that says what to do about a :func:`name_difference`.

    Args:
        there: Names of one side.
        here: Of the other, which is to be mended.
        where: What the other side is called, such as ``val_dataloader``.

    Example:
        >>> names_cure(["a", "b"], ["b", "a"], "test_dataloader")
        "Give the data set of test_dataloader landmarks=['a', 'b']"
    """
    if there is not None and here is not None and set(there) <= set(here):
        return f"Give the data set of {where} landmarks={list(there)}"
    return "Use data sets of the same landmarks, or rename them where they only are called differently"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:3]))
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
