"""Transforms that make chosen samples hard to learn from, in whichever process of a run they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mmlandmark.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ForgetLandmarks:
    """Leave no landmark to some samples.

    Args:
        ids: Of these samples.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = set(ids)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if results["sample_id"] in self.ids:
            results["landmarks"] = np.full_like(results["landmarks"], np.nan)
        return results


@TRANSFORMS.register_module()
class SpoilPixels:
    """Replace the pixels of some samples, behind the check of what has been read.

    Args:
        ids: Of these samples.
        value: That all their pixels get.
    """

    def __init__(self, ids: Iterable[str], value: float = float("nan")) -> None:
        self.ids, self.value = set(ids), value

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if results["sample_id"] in self.ids:
            results["img"] = np.full_like(results["img"], self.value, dtype=np.float32)
        return results
