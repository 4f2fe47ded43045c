"""A prior of shapes for a detector that was trained without one."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import MODELS


def with_shape_prior(
    model: ModelFile, points: np.ndarray, steps: np.ndarray | None = None, **settings: Any
) -> ModelFile:
    """Return a model that chooses among several peaks of a map by where the other landmarks are.

    Its calibration and results of tests are left out, since they are those of the model without a prior.

    Args:
        model: A trained detector.
        points: (N, K, D) landmarks of its training data, original pixels, NaN where missing; see
            :func:`mmlandmark.datasets.annotated_shapes.annotated_shapes`.
        steps: (N, D, D) from steps in pixels to steps in mm, likewise.
        **settings: ``candidates``, ``gate`` and ``strength``, see
            :class:`~mmlandmark.models.detectors.ShapeChoice`.

    Raises:
        ValueError: There are too few shapes, or they have other landmarks than the model.
    """
    expected = (len(model.schema), model.schema.dims)
    if points.shape[1:] != expected:
        raise ValueError(
            f"model {model.name!r} has {expected[0]} landmarks in {expected[1]}D, the shapes have "
            f"{points.shape[1:]}: give those of its training data"
        )
    config = copy.deepcopy(model.config)
    config["model"]["test_cfg"] = {**(config["model"].get("test_cfg") or {}), "shape_prior": settings}
    detector = MODELS.build(config["model"])
    detector.shape_choice.learn(points, steps)
    learnt = {f"shape_choice.{name}": value for name, value in detector.shape_choice.state_dict().items()}
    return replace(
        model, config=config, state_dict={**model.state_dict, **learnt}, calibration=None, measured={}
    )
