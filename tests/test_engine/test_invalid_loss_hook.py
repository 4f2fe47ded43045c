"""A loss or a gradient that is not finite stops the run, or is left out."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.hooks import InvalidLossHook
from mmlandmark.registry import HOOKS
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("way", ["stop", "skip"])
def test_an_invalid_loss_with_a_finite_gradient_stops_the_run_and_names_the_samples(value, way):
    runner = SimpleNamespace(iter=3, epoch=1)
    batch = dict(data_samples=[{"sample_id": "case7"}])
    hook = InvalidLossHook(on_invalid=way)
    hook.before_train_iter(runner, 0, dict(data_samples=[{"sample_id": "case6"}]))
    hook.after_train_iter(runner, 0, batch, dict(loss=torch.tensor(1.0)))
    hook.before_train_iter(runner, 0, batch)
    with pytest.raises(FloatingPointError, match=r"epoch 2, iteration 4: .*loss.*samples \['case7'\]"):
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


@HOOKS.register_module()
class Spoil(Hook):
    """Makes the gradient of some iterations NaN, or a buffer with it."""

    def __init__(self, iterations, buffer=False):
        self.iterations, self.buffer = set(iterations), buffer

    def before_train(self, runner):
        weight = next(runner.model.parameters())
        weight.register_hook(lambda grad: grad * float("nan") if runner.iter in self.iterations else grad)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = [p.detach().clone() for p in runner.model.parameters()]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        same = all(torch.equal(a, b) for a, b in zip(self.before, runner.model.parameters(), strict=True))
        assert same == (runner.iter in self.iterations)
        if self.buffer and runner.iter in self.iterations:
            buffers = dict(runner.model.named_buffers())
            next(value for name, value in buffers.items() if "running_mean" in name).fill_(torch.nan)


def run_of(folder, spoil, **options):
    config = tiny_config(folder, max_epochs=3, custom_hooks=[dict(type="Spoil", priority="HIGHEST", **spoil)])
    config.default_hooks.invalid_loss = dict(type="InvalidLossHook", **options)
    return LandmarkRunner.from_cfg(config)


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"epoch 2, iteration 4: the gradient is not finite.*ceph_0_"
    ):
        run_of(tmp_path, dict(iterations=[3])).train()
    weights = load_checkpoint(tmp_path / "epoch_1.pth")["state_dict"]
    assert all(torch.isfinite(w.float()).all() for w in weights.values())
    assert not (tmp_path / "epoch_2.pth").exists()


def test_such_a_step_is_left_out_and_counted(tmp_path, caplog):
    runner = run_of(tmp_path, dict(iterations=[1, 3, 4]), on_invalid="skip", most=2)
    runner.logger.setLevel(logging.WARNING)
    runner.logger.addHandler(caplog.handler)
    runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, InvalidLossHook))
    assert hook.skipped == 3
    assert caplog.text.count("This step is left out") == 3
    assert "3 steps were left out" in caplog.text
    weights = load_checkpoint(tmp_path / "epoch_3.pth")["state_dict"]
    assert all(torch.isfinite(w.float()).all() for w in weights.values())


def test_too_many_in_a_row_stop_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match="2 steps in a row were left out"):
        run_of(tmp_path, dict(iterations=[1, 2]), on_invalid="skip", most=1).train()


def test_statistics_that_are_lost_stop_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match=r"running_mean holds numbers of these images"):
        run_of(tmp_path, dict(iterations=[1], buffer=True), on_invalid="skip").train()


def test_every_other_iteration_may_be_looked_at(tmp_path):
    """What is not looked at is the user's choice: here the second step, by a gradient that is NaN."""
    with pytest.raises(FloatingPointError, match="iteration 3"):
        run_of(tmp_path, dict(iterations=[2]), interval=3).train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(interval=0), "at least 1"),
        (dict(most=-1), "at least 0"),
        (dict(on_invalid="go"), "'stop' or 'skip'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InvalidLossHook(**options)
