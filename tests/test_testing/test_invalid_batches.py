"""What is planted into a step reaches that step, and no other."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.model import BaseModel

from mmlandmark.models import LandmarkDataPreprocessor
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.testing.invalid_batches import KINDS, plant


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_spoilt(tmp_path, monkeypatch, kind):
    for owner, name in ((LandmarkDataPreprocessor, "forward"), (BaseModel, "parse_losses")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back after the test
    note = tmp_path / "ids.json"
    plant(kind, 2, note)
    prepare = LandmarkDataPreprocessor(mean=0.0, std=1.0, channels=1)
    samples = [LandmarkDataSample(metainfo=dict(sample_id=name, white=255.0)) for name in "ab"]
    pixels, losses, gradients = [], [], []
    for step in range(3):
        data = dict(inputs=[torch.ones(1, 4, 4)] * 2, data_samples=samples)
        assert prepare(dict(data))["inputs"].isfinite().all()  # not in a validation
        pixels.append(bool(prepare(data, training=True)["inputs"].isfinite().all()))
        weight = torch.ones(1, requires_grad=True)
        loss, _ = BaseModel.parse_losses(prepare_model(), dict(loss_a=(2 * weight).sum()))
        loss.backward()
        losses.append(bool(loss.isfinite()))
        gradients.append(bool(weight.grad.isfinite().all()))
        assert note.is_file() == (step > 0)
    spoilt = [True, False, True]
    assert pixels == (spoilt if "image" in kind else [True] * 3)
    assert losses == (spoilt if kind == "a loss of NaN" else [True] * 3)
    assert gradients == ([True] * 3 if "image" in kind else spoilt)
    assert json.loads(note.read_text()) == ["a", "b"]


def prepare_model():
    class Model(BaseModel):
        def forward(self, *_):
            raise AssertionError

    return Model()
