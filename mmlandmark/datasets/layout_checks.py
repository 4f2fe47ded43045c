"""Checks of how landmarks stand to each other: left and right, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding

_FAR = 6.0  # robust standard deviations


def swapped_pairs(cases: Cases, agreement: float, min_records: int) -> Iterator[Finding]:
    """Pairs of left and right landmarks that stand the other way round than in most other records."""
    for a, b in cases.schema.flip_pairs:
        for n in _against_the_rest(cases, a, b, 0, agreement, min_records):
            message = f"{cases.at(n, a)} and {cases.at(n, b)} are swapped"
            yield cases.finding(n, "left-right swap", message, landmarks=(a, b))


def order_breaks(cases: Cases, chain: float, single: float, min_records: int) -> Iterator[Finding]:
    """Steps from a landmark to the next that go the wrong way along an axis.

    Left, right and unpaired landmarks each form a row, in the order of the schema. A row that runs one way
    all along (vertebrae from top to bottom) is a chain, and any step back breaks it. Elsewhere a step
    must be nearly always the same to count, and far from usual where it is not.

    Args:
        cases: What to check.
        chain: Fraction of the records that must agree in every step of a chain.
        single: The same of a step outside of chains.
        min_records: Fewer teach nothing.
    """
    pairs = cases.schema.flip_pairs
    paired = {i for pair in pairs for i in pair}
    rows = [
        [p[0] for p in pairs],
        [p[1] for p in pairs],
        [i for i in range(len(cases.schema)) if i not in paired],
    ]
    for row in rows:
        steps = list(pairwise(row))
        for axis in range(cases.schema.dims):
            ways = {_common_way(cases, a, b, axis, chain) for a, b in steps}
            is_chain = len(ways) == 1 and 0 not in ways and len(steps) > 1
            for a, b in steps:
                found = _against_the_rest(cases, a, b, axis, chain if is_chain else single, min_records)
                for n in found if is_chain else _far_from_the_rest(cases, a, b, axis, found):
                    way = f"{cases.at(n, a)} to {cases.at(n, b)} goes the wrong way along {'xyz'[axis]}"
                    yield cases.finding(n, "order break", way, landmarks=(a, b))


def _common_way(cases: Cases, a: int, b: int, axis: int, agreement: float) -> int:
    """Return 1 or -1, the way most records go from landmark a to b along an axis, or 0 if they differ."""
    step = cases.clean[:, b, axis] - cases.clean[:, a, axis]
    step = step[np.isfinite(step)]
    if len(step) == 0:
        return 0
    for way in (1, -1):
        # A step of zero breaks no order.
        if (step * way >= 0).mean() >= agreement and (step * way > 0).mean() > 0.5:
            return way
    return 0


def _against_the_rest(
    cases: Cases, a: int, b: int, axis: int, agreement: float, min_records: int
) -> list[int]:
    if len(cases) < min_records:
        return []
    way = _common_way(cases, a, b, axis, agreement)
    step = cases.clean[:, b, axis] - cases.clean[:, a, axis]
    with np.errstate(invalid="ignore"):
        return [int(n) for n in np.flatnonzero(step * way < 0)]


def _far_from_the_rest(cases: Cases, a: int, b: int, axis: int, rows: list[int]) -> list[int]:
    """Return those of ``rows`` whose step lies far from the usual one: small steps turn round by nature."""
    if not rows:
        return []
    step = cases.clean[:, b, axis] - cases.clean[:, a, axis]
    middle = np.nanmedian(step)
    spread = 1.4826 * np.nanmedian(np.abs(step - middle))
    return [n for n in rows if abs(step[n] - middle) > _FAR * spread]
