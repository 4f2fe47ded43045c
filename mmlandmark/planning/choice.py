"""What a rule decides: a value, and the reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """One decision of a plan.

    Attributes:
        value: Of plain types, as it goes into the config.
        why: The reason, with the numbers that decided: one short sentence without a full stop.
    """

    value: Any
    why: str


def duration(minutes: float) -> str:
    """Return a time in words.

    Example:
        >>> [duration(minutes) for minutes in (0.004, 0.2, 0.999, 1, 1.04, 9.16, 30.4)]
        ['1 s', '12 s', '1 minute', '1 minute', '1 minute', '9.2 minutes', '30 minutes']
    """
    if round(60 * minutes) < 60:
        return f"{max(1, round(60 * minutes))} s"
    rounded = round(minutes, 1 if minutes < 10 else None)
    return f"{rounded:g} minute{'' if rounded == 1 else 's'}"


class OpenQuestion(ValueError):
    """The plan needs an answer that nobody but the user can give; the message holds question and flag."""
