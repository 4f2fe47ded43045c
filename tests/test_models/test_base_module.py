"""Modules of ours load weights safely in any program."""

from __future__ import annotations

import mmengine.model
import pytest
import torch

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.registry import MODELS
from mmlandmark.utils.checkpoint import save_checkpoint


class Layer(BaseModule):
    def __init__(self, init_cfg):
        super().__init__(init_cfg)
        self.layer = torch.nn.Linear(2, 2)


def test_init_weights_is_strict_and_safe(tmp_path):
    path = tmp_path / "layer.pth"
    module = Layer(dict(type="Pretrained", checkpoint=str(path)))
    weights = {key: torch.ones_like(value) for key, value in module.state_dict().items()}
    save_checkpoint(dict(state_dict=weights), path)
    module.init_weights()
    assert torch.equal(module.layer.weight, torch.ones(2, 2))
    save_checkpoint(dict(state_dict={"other": torch.ones(2)}), path)
    with pytest.raises(ValueError, match="weights of another model"):
        Layer(dict(type="Pretrained", checkpoint=str(path))).init_weights()


def test_every_registered_module_of_ours_is_one():
    MODELS.get("LandmarkDetector")  # imports all rooms
    ours = [kind for kind in MODELS.module_dict.values() if kind.__module__.startswith("mmlandmark.")]
    plain = {
        kind.__name__
        for kind in ours
        if issubclass(kind, mmengine.model.BaseModule) and not issubclass(kind, BaseModule | BaseDetector)
    }
    assert len(ours) > 10
    assert plain == set()
