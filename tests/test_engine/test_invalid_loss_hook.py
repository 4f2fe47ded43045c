"""A loss that is not finite stops the run."""

from types import SimpleNamespace

import pytest
import torch

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.hooks import InvalidLossHook
from mmlandmark.testing import tiny_config


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_invalid_loss_stops_the_run_and_names_the_samples(value):
    runner = SimpleNamespace(iter=3, epoch=1)
    batch = dict(data_samples=[{"sample_id": "case7"}])
    hook = InvalidLossHook()
    hook.after_train_iter(runner, 0, batch, dict(loss=torch.tensor(1.0)))
    with pytest.raises(FloatingPointError, match=r"epoch 2, iteration 4: .*loss.* \['case7'\]"):
        hook.after_train_iter(runner, 0, batch, dict(loss=torch.tensor(value)))


def test_an_invalid_loss_is_never_saved(tmp_path):
    config = tiny_config(tmp_path, max_epochs=2)
    config.optim_wrapper.optimizer = dict(type="SGD", lr=1e30)
    config.param_scheduler = None
    with pytest.raises(FloatingPointError):
        LandmarkRunner.from_cfg(config).train()
    for path in tmp_path.glob("*.pth"):
        weights = torch.load(path, weights_only=True)["state_dict"]
        assert all(torch.isfinite(w.float()).all() for w in weights.values())
