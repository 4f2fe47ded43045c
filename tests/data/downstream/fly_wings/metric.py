"""A metric: numbers from all cases, each with its annotated and predicted points."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlandmark.evaluation import CaseMetric
from mmlandmark.registry import METRICS


@METRICS.register_module()
class WingLengthMetric(CaseMetric):
    """Mean error of the distance between two landmarks, in percent of it.

    Args:
        ends: Indices of the two landmarks.
        **kwargs: See :class:`~mmlandmark.evaluation.CaseMetric`.
    """

    def __init__(self, ends: tuple[int, int] = (0, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ends = list(ends)

    def measure(self, cases: list[dict[str, Any]]) -> dict[str, float]:
        """Return ``wing_length`` for cases with points ``gt`` and ``pred`` of (K, 2) pixels."""
        errors = []
        for case in cases:
            true, found = (np.linalg.norm(np.diff(case[key][self.ends], axis=0)) for key in ("gt", "pred"))
            errors.append(100 * abs(found - true) / true)
        return dict(wing_length=float(np.mean(errors)))
