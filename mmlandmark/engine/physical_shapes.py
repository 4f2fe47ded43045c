"""Shapes of landmarks in mm, by the spacing of their images or by a known length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.evaluation.functional import reference_scale


def steps_by_reference(points: np.ndarray, reference: Mapping[str, Any]) -> np.ndarray:
    """Return the steps in mm per step in pixels that give every shape a known length.

    Args:
        points: (N, K, D) pixels, annotated or predicted; NaN where missing.
        reference: ``reference_length`` of a schema: ``pair`` and ``mm``.

    Returns:
        (N, D, D), NaN where a landmark of the pair is missing.
    """
    scale = reference_scale(points, reference["pair"], reference["mm"])
    return scale[:, :, None] * np.eye(points.shape[2])


def physical_shapes(dataset: Any) -> tuple[np.ndarray, str]:
    """Return the annotated shapes of a data set in mm: by spacing, else by its reference length.

    Returns:
        (N, K, D) landmarks, NaN where missing, and their unit: ``mm`` or, where neither is known, ``pixels``.
        A shape without its reference length is NaN.
    """
    points, steps = annotated_shapes(dataset)
    reference = dataset.metainfo.get("reference_length")
    if steps is None and reference is not None:
        steps = steps_by_reference(points, reference)
    if steps is None:
        return points, "pixels"
    return points @ steps.swapaxes(1, 2), "mm"
