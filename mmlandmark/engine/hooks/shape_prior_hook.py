"""Teaches a detector the shapes of its training data."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmlandmark.datasets.annotated_shapes import annotated_shapes, follow_typical_shape, set_typical_shape
from mmlandmark.engine.processes import bare
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class ShapePriorHook(Hook):
    """Learn which shapes are usual from the landmarks of the training data, before training begins.

    The detector keeps them with its weights. It chooses among several peaks of a map by them, see
    :class:`~mmlandmark.models.detectors.ShapeChoice`, or aligns patches to the typical one, see
    :class:`~mmlandmark.models.detectors.CoarseToFineDetector`; ``AlignToTypicalShape`` in the pipeline of the
    training aligns to the same. Weights that the run loads bring their own shapes, which stay. This takes a
    moment, and draws no random numbers.

    Raises:
        ValueError: The detector has no use for shapes, or the training data has too few.
    """

    # Before the copy that a mean of the weights begins with.
    priority = "VERY_HIGH"
    provides = ("shapes",)

    def check_run(self, run: RunContext, model: Any) -> None:
        """Raise ValueError if the detector has no place for shapes."""
        if not getattr(model, "uses_shapes", False):
            raise ValueError(
                "ShapePriorHook needs a detector that uses shapes: give it test_cfg.shape_prior, a dict "
                "of the arguments of ShapeChoice (dict() takes the defaults), or, if it is a "
                "CoarseToFineDetector, align"
            )

    def before_run(self, runner: Runner) -> None:
        """Learn; a run that only tests has what its checkpoint holds."""
        if runner._train_loop is None or isinstance(runner._train_loop, dict):
            return
        dataset = runner.train_dataloader.dataset
        points, steps = annotated_shapes(dataset)
        bare(runner).learn_shapes(points, steps)
        set_typical_shape(dataset, points, steps)
        print_log(f"the detector has learnt {len(points)} shapes", logger="current")

    def before_train(self, runner: Runner) -> None:
        """Align the patches of the training to what the detector holds, now that weights are loaded."""
        shape = bare(runner).typical_shape
        if shape is not None:
            follow_typical_shape(runner.train_dataloader.dataset, shape)
