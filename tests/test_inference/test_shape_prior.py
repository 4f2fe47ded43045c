"""A model file learns shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.datasets.phantom import PhantomDataset
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.inference.shape_prior import with_shape_prior
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import MODELS
from mmlandmark.shape import ShapePrior
from mmlandmark.testing import tiny_config


@pytest.fixture
def model(tmp_path) -> ModelFile:
    config = tiny_config(tmp_path)
    state = MODELS.build(config.model).state_dict()
    meta = dict(dataset_meta=PhantomDataset(lazy_init=True).metainfo)
    return pack_checkpoint(config, dict(state_dict=state, meta=meta), "a.pth")


def test_the_file_keeps_the_prior(model, tmp_path):
    points, steps = annotated_shapes(PhantomDataset(num_samples=30))
    tested = replace(model, measured=dict(test=dict(mre=1.0)), calibration=dict(kind="absolute"))
    new = with_shape_prior(tested, points, steps, gate=6.0)
    assert (new.measured, new.calibration) == ({}, None)  # of another detector
    assert "shape_prior" not in (model.config["model"].get("test_cfg") or {})
    replace(new, half=True).save(tmp_path / "a.mml.pth")
    detector = ModelFile.load(tmp_path / "a.mml.pth").detector()
    assert detector.shape_choice.gate == 6.0
    others, mm = annotated_shapes(PhantomDataset(num_samples=10, offset=50))
    expected = ShapePrior.fit(points @ steps.mT).deviations(others @ mm.mT)
    found = detector.shape_choice.prior.deviations(others @ mm.mT)
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)
    for name, value in model.state_dict.items():
        assert (new.state_dict[name] == value).all()


def test_other_landmarks_are_refused(model):
    with pytest.raises(ValueError, match="has 19 landmarks in 2D, the shapes have"):
        with_shape_prior(model, np.zeros((20, 4, 2)))
