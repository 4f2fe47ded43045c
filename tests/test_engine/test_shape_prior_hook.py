"""A training teaches a detector the shapes of its data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.hooks import ShapePriorHook
from mmlandmark.registry import DATASETS, MODELS
from mmlandmark.shape import ShapePrior, TypicalShape
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from test_models.detector_cases import detector

EMA = dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.2, update_buffers=True)


def run(folder, hooks, **model):
    config = tiny_config(
        folder,
        max_epochs=1,
        custom_hooks=hooks,
        model=model,
        train_dataloader=phantom_dataloader(num_samples=12),
    )
    runner = LandmarkRunner.from_cfg(config)
    runner.train()
    return runner, load_checkpoint(folder / "epoch_1.pth")["state_dict"]


def test_a_training_learns_shapes_and_nothing_else_differs(tmp_path):
    runner, state = run(
        tmp_path / "with", [dict(type="ShapePriorHook"), EMA], test_cfg=dict(shape_prior=dict(gate=6.0))
    )
    points, steps = annotated_shapes(runner.train_dataloader.dataset)
    assert len(points) == 12
    expected = ShapePrior.fit(points if steps is None else points @ steps.mT).model
    np.testing.assert_allclose(state["shape_choice.typical"], expected.typical, rtol=1e-5)
    precision = np.linalg.inv(state["shape_choice.correlation"].double())
    np.testing.assert_allclose(precision, expected.precision, rtol=1e-2, atol=1e-2)
    _, plain = run(tmp_path / "without", [EMA])
    for name, value in plain.items():
        assert torch.equal(value, state[name]), name


def test_a_detector_without_a_place_for_it_is_named_before_the_first_batch():
    hook = ShapePriorHook()
    with pytest.raises(ValueError, match=r"ShapePriorHook needs a detector that uses shapes"):
        hook.check_run(None, detector())
    hook.check_run(None, detector(test_cfg=dict(shape_prior=dict())))


class OnlyTrained:
    """As much of a run as the hook looks at."""

    _train_loop = object()

    def __init__(self, model, dataset):
        self.model = model
        self.train_dataloader = type("Loader", (), dict(dataset=dataset))


def test_patches_and_detector_share_the_typical_shape_of_all_training_data():
    """Of two data sets in one, neither aligns to its own."""
    part = phantom_dataloader(num_samples=6)["dataset"]
    part = dict(part, pipeline=[dict(type="AlignToTypicalShape", pixel=1.0)])
    both = dict(type="ConcatDataset", datasets=[part, dict(part, offset=40)])
    dataset = DATASETS.build(both)
    first, second = dataset.datasets
    assert not np.allclose(first.typical_shape.points, second.typical_shape.points)
    part = tiny_config("unused").model.to_dict()
    model = MODELS.build(
        dict(
            type="CoarseToFineDetector",
            coarse=part,
            fine=part,
            patch_size=16,
            shrink=2,
            dims=2,
            align=dict(pixel=1.0),
        )
    )
    hook, run = ShapePriorHook(), OnlyTrained(model, dataset)
    hook.before_run(run)
    hook.before_train(run)
    expected = TypicalShape.of(*annotated_shapes(dataset))
    for leaf in dataset.datasets:
        np.testing.assert_array_equal(leaf.typical_shape.points, expected.points)
    np.testing.assert_allclose(model.alignment.typical, expected.points, rtol=1e-6)
    assert bool(model.alignment.millimetres) is expected.millimetres
    # Weights that are loaded between the two steps bring the shape of other data.
    hook.before_run(run)
    with torch.no_grad():
        model.alignment.typical *= 1.3
    hook.before_train(run)
    for leaf in dataset.datasets:
        np.testing.assert_allclose(leaf.typical_shape.points, 1.3 * expected.points, rtol=1e-5)
