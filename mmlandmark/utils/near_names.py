"""Words that were meant to be other words."""

from __future__ import annotations

import re
from collections.abc import Iterable


def plain(name: str) -> str:
    """Return a name in lower case, with one underscore for every run of blanks, dots, ``-`` and ``_``."""
    return re.sub(r"[\s._-]+", "_", name.strip()).strip("_").lower()


def near_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` seems to be a slip of, or None.

    Names that differ in case, blanks, ``-`` and ``_`` only are near; so are names with one wrong, missing,
    doubled or swapped letter, or two where both names have six letters or more. Words of less than four
    letters are near to nothing, and names with other digits are other names.
    """
    wanted = plain(name)
    others = {other: plain(other) for other in known}
    for other, text in others.items():
        if text == wanted:
            return other
    digits = re.sub(r"\D", "", wanted)
    distances = {
        other: edit_distance(wanted, text)
        for other, text in others.items()
        if re.sub(r"\D", "", text) == digits
    }
    near = [
        (distance, others[other][:1] != wanted[:1], other)  # slips seldom hit the first letter
        for other, distance in distances.items()
        if (shorter := min(len(wanted), len(others[other]))) >= 4 and distance <= (2 if shorter >= 6 else 1)
    ]
    return min(near)[2] if near else None


def did_you_mean(names: Iterable[str], known: Iterable[str]) -> str:
    """Return ``" (did you mean 'a' for 'A'?)"`` for names that are near a known one, else an empty string."""
    known = list(known)
    found = {name: near for name in names if (near := near_name(name, known)) is not None}
    words = ", ".join(f"{near!r} for {name!r}" for name, near in found.items())
    return f" (did you mean {words}?)" if words else ""


def refuse_misspelt(keys: Iterable[str], known: Iterable[str], where: str, what: str = "key") -> None:
    """Raise ValueError if a key that is not known is near one that is.

    A key like no other is somebody's own and is let through.

    Args:
        keys: What a file says.
        known: What would be understood.
        where: File and line or entry, for the message.
        what: What the keys are called there.
    """
    known = list(known)
    for key in keys:
        near = None if key in known else near_name(key, known)
        if near is not None:
            raise ValueError(
                f"{where}: unknown {what} {key!r}, did you mean {near!r}? If it is something of your own, "
                "give it a name less alike"
            )


def edit_distance(one: str, other: str) -> int:
    """Return how many letters must be changed, added, left out or swapped with the next to get the other."""
    before: list[int] = []
    last, row = before, list(range(len(other) + 1))
    for i, a in enumerate(one):
        before, last, row = last, row, [i + 1]
        for j, b in enumerate(other):
            row.append(min(last[j + 1] + 1, row[j] + 1, last[j] + (a != b)))
            if i and j and a == other[j - 1] and b == one[i - 1]:
                row[-1] = min(row[-1], before[j - 1] + 1)
    return row[-1]
