"""A training teaches a detector the shapes of its data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.hooks import ShapePriorHook
from mmlandmark.shape import ShapePrior
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
    with pytest.raises(ValueError, match=r"ShapePriorHook needs model\.test_cfg\.shape_prior"):
        hook.check_run(None, detector())
    hook.check_run(None, detector(test_cfg=dict(shape_prior=dict())))
