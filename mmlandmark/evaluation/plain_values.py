"""Checks of plain values that come from a file that anybody may have written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def need(condition: Any, message: str) -> None:
    """Raise ValueError that a calibration is broken unless a condition holds."""
    if not condition:
        raise ValueError(f"calibration: {message}")


def checked_keys(data: Any, keys: Sequence[str], what: str) -> dict[str, Any]:
    """Return a dict that has exactly these keys, or raise ValueError."""
    if not isinstance(data, dict) or set(data) != set(keys):
        found = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"{what} needs the keys {', '.join(keys)}, got {found!s:.200}")
    return data


def numbers(
    values: Any, what: str, count: int | None = None, positive: bool = False, missing: bool = False
) -> np.ndarray:
    """Return a list of finite numbers as an array.

    Args:
        values: The list.
        what: Its name, for the error.
        count: How many there must be.
        positive: Whether all must be above 0.
        missing: Allow None, which becomes NaN.

    Raises:
        ValueError: It is no such list.
    """
    need(isinstance(values, list), f"{what}: a list of numbers is needed, got {values!r:.60}")
    need(count is None or len(values) == count, f"{what}: {count} numbers are needed, got {len(values)}")
    plain = [v for v in values if not (missing and v is None)]
    good = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in plain)
    need(good, f"{what}: all must be finite numbers")
    need(not positive or all(v > 0 for v in plain), f"{what}: all must be positive")
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)
