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


class OpenQuestion(ValueError):
    """The plan needs an answer that nobody but the user can give; the message holds question and flag."""
