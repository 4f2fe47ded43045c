"""A detector from its checkpoint."""

from __future__ import annotations

import shutil

import pytest
import torch

from mmlandmark.apis import train_config
from mmlandmark.engine import ConfigError
from mmlandmark.engine.trained_detector import detector_with_weights, load_detector
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_config(tiny_config(folder, max_epochs=1))
    return folder / "epoch_1.pth"


def test_it_has_the_weights_of_its_training(checkpoint):
    detector, config = load_detector(checkpoint)
    assert config.model.backbone.widths == [8, 16]
    assert not detector.training
    for key, value in load_checkpoint(checkpoint)["state_dict"].items():
        assert torch.equal(value, detector.state_dict()[key]), key


def test_a_checkpoint_alone_and_a_wrong_model_are_refused(checkpoint, tmp_path):
    shutil.copy(checkpoint, tmp_path)
    with pytest.raises(ConfigError, match=r"is not the folder of a run, it holds no config\.json: name"):
        load_detector(tmp_path / checkpoint.name)
    other = tiny_config(tmp_path).model
    other.backbone.widths = (4, 8)
    with pytest.raises(ValueError, match=r"that one holds the weights of another model"):
        detector_with_weights(other, load_checkpoint(checkpoint), "that one")
