"""A part of the cases of a long list, as all of them take minutes: ``MMLANDMARK_TEST_ALL=1`` takes all."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from itertools import product
from typing import Any

import pytest

ALL = os.environ.get("MMLANDMARK_TEST_ALL", "0") not in ("", "0")


def some(cases: Iterable[Any], number: int) -> list[Any]:
    """Return so many cases, evenly spread from the first to the last."""
    every = list(cases)
    if ALL or number >= len(every):
        return every
    return [every[round(i * (len(every) - 1) / (number - 1))] for i in range(number)]


def mostly_slow(cases: Iterable[Any], quick: int) -> list[Any]:
    """Return all cases; all but so many, which are evenly spread, are marked as slow."""
    every = list(cases)
    step = (len(every) - 1) / (quick - 1)
    others = set(range(len(every))) - {round(i * step) for i in range(quick)}
    return [
        pytest.param(case, marks=pytest.mark.slow) if n in others else case for n, case in enumerate(every)
    ]


def one_of_each(cases: Iterable[Any], kind: Callable[[Any], Hashable]) -> list[Any]:
    """Return one case of every kind: the first of the first, the second of the second, and so on."""
    kinds: dict[Hashable, list[Any]] = {}
    for case in cases:
        kinds.setdefault(kind(case), []).append(case)
    if ALL:
        return [case for same in kinds.values() for case in same]
    return [same[number % len(same)] for number, same in enumerate(kinds.values())]


def in_turn(first: Iterable[Any], second: Iterable[Any], *more: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return every pair of ``first`` and ``second``, each with one combination of ``more``, in turn.

    Each of ``first``, and each of ``second``, meets as many of the combinations as it has partners.
    """
    combined = list(product(*more))
    return [
        (one, other, *rest)
        for i, one in enumerate(first)
        for j, other in enumerate(second)
        for rest in (combined if ALL else [combined[(i + j) % len(combined)]])
    ]
