"""Detects misspelt names and suggests the right ones."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 100  # letters of a name that may be a slip; comparing takes the square of the length


def plain(name: str) -> str:
    """Return a name in lower case, with one underscore for every run of blanks, dots, ``-`` and ``_``."""
    return re.sub(r"[\s._-]+", "_", name.strip()).strip("_").lower()


def near_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` probably stands for, or None.

    Names are near if they differ only in case, blanks, ``-`` and ``_``, or in one wrong, missing, extra or
    swapped letter; in two letters if both names have at least six. Names of fewer than four letters are near
    to none, as are those of more than a hundred, and names with different digits are different names.
    """
    wanted = plain(name)
    others = {other: plain(other) for other in known}
    for other, text in others.items():
        if text == wanted:
            return other
    if len(wanted) > _LONGEST:
        return None
    digits = re.sub(r"\D", "", wanted)
    distances = {
        other: edit_distance(wanted, text)
        for other, text in others.items()
        if abs(len(text) - len(wanted)) <= 2 and re.sub(r"\D", "", text) == digits
    }
    near = [
        (distance, others[other][:1] != wanted[:1], other)  # the first letter is seldom wrong
        for other, distance in distances.items()
        if (shorter := min(len(wanted), len(others[other]))) >= 4 and distance <= (2 if shorter >= 6 else 1)
    ]
    return min(near)[2] if near else None


def did_you_mean(names: Iterable[str], known: Iterable[str]) -> str:
    """Return ``" (did you mean 'a' for 'A'?)"`` for names that are near a known one, else an empty string."""
    known = list(known)
    suggestions = {name: near for name in names if (near := near_name(name, known)) is not None}
    words = ", ".join(f"{near!r} for {name!r}" for name, near in suggestions.items())
    return f" (did you mean {words}?)" if words else ""


def refuse_misspelt(keys: Iterable[str], known: Iterable[str], where: str, what: str = "key") -> None:
    """Raise a ValueError if an unknown key is near a known one.

    A key that resembles none is a custom one and is accepted.

    Args:
        keys: Keys in a file.
        known: Known keys.
        where: File and line or entry, for the message.
        what: The word for a key in the message.
    """
    known = list(known)
    for key in keys:
        near = None if key in known else near_name(key, known)
        if near is not None:
            raise ValueError(
                f"{where}: unknown {what} {key!r}, did you mean {near!r}? If it is your own, give it a name "
                "that differs more"
            )


def edit_distance(one: str, other: str) -> int:
    """Return how many letters must be changed, added, removed or swapped with the next to get the other."""
    before: list[int] = []
    last, row = before, list(range(len(other) + 1))
    for i, a in enumerate(one):
        before, last, row = last, row, [i + 1]
        for j, b in enumerate(other):
            row.append(min(last[j + 1] + 1, row[j] + 1, last[j] + (a != b)))
            if i and j and a == other[j - 1] and b == one[i - 1]:
                row[-1] = min(row[-1], before[j - 1] + 1)
    return row[-1]
