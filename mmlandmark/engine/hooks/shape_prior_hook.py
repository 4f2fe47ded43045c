"""Teaches a detector the shapes of its training data."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class ShapePriorHook(Hook):
    """Learn which shapes are usual from the landmarks of the training data, before training begins.

    The detector chooses among several peaks of a map by them, see
    :class:`~mmlandmark.models.detectors.ShapeChoice`, and keeps them with its weights. This takes a moment,
    and training computes what it would without.

    Raises:
        ValueError: The detector has no ``test_cfg.shape_prior``, or the training data has too few shapes.
    """

    # Before the copy that a mean of the weights begins with.
    priority = "VERY_HIGH"

    def check_run(self, run: RunContext, model: Any) -> None:
        """Raise ValueError if the detector has no place for a prior."""
        if getattr(model, "shape_choice", None) is None:
            raise ValueError(
                "ShapePriorHook needs model.test_cfg.shape_prior, a dict of the arguments of ShapeChoice; "
                "dict() takes the defaults"
            )

    def before_run(self, runner: Runner) -> None:
        """Learn; a run that only tests has what its checkpoint holds."""
        if runner._train_loop is None or isinstance(runner._train_loop, dict):
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        points, steps = annotated_shapes(runner.train_dataloader.dataset)
        model.shape_choice.learn(points, steps)
        print_log(f"the detector has learnt {len(points)} shapes", logger="current")
