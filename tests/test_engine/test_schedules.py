"""Schedules work in runs of any length."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine import optim
from mmengine.hooks import Hook

from mmlandmark.engine import ConfigError, LandmarkRunner, OneCycleLR
from mmlandmark.engine.schedules import spanning
from mmlandmark.registry import PARAM_SCHEDULERS
from mmlandmark.testing import tiny_config


def rates(kind, steps, eta_max=1.0, **options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = kind(optimizer, eta_max=eta_max, total_steps=steps, by_epoch=False, **options)
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps - 1):
        optimizer.step()
        schedule.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8, 10, 20])
def test_one_cycle_of_any_length(steps, share, three_phase):
    options = dict(pct_start=share, three_phase=three_phase)
    found = rates(OneCycleLR, steps, **options)
    assert all(math.isfinite(rate) and 0 <= rate <= 1 for rate in found)
    if steps == 1:
        assert found == [1.0]
        return
    assert max(found) > (0.5 if steps >= 4 and not three_phase else 0.0)
    try:
        expected = rates(optim.OneCycleLR, steps, **options)
    except ZeroDivisionError:
        expected = found  # what is mended
    assert found == expected


def test_five_steps_begin_at_the_peak():
    found = rates(OneCycleLR, 5, pct_start=0.2)
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(1 / 25 / 1e4)


def test_configs_get_this_one():
    assert PARAM_SCHEDULERS.get("OneCycleLR") is OneCycleLR


@pytest.mark.parametrize(
    ("schedule", "key", "expected"),
    [
        (dict(type="OneCycleLR", eta_max=1.0), "total_steps", 7),
        (dict(type="OneCycleLR", eta_max=1.0, total_steps=9), "total_steps", 9),
        (dict(type="OneCycleLR", eta_max=1.0, begin=2), "total_steps", 5),
        (dict(type="OneCycleLR", eta_max=1.0, begin=1, end=4), "total_steps", 3),
        (dict(type="CosineAnnealingLR", by_epoch=False), "end", 70),
        (dict(type="LinearLR", start_factor=0.1), "end", 7),
        (dict(type="MultiStepLR", milestones=[2]), "end", None),
        (dict(type=optim.OneCycleLR, eta_max=1.0), "total_steps", 7),
    ],
)
def test_a_schedule_spans_the_training(schedule, key, expected):
    assert spanning(schedule, max_epochs=7, max_iters=70).get(key) == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (dict(type="OneCycleLR", begin=2), dict(by_epoch=False, begin=20, total_steps=45)),
        (dict(type="CosineAnnealingLR", T_max=3), dict(by_epoch=False, T_max=30, end=65)),
        (dict(type="CosineRestartLR", periods=[1, 2]), dict(by_epoch=False, periods=[10, 20], end=65)),
        # One that states its lengths in epochs counts passes over the data.
        (dict(type="LinearLR", end=2), dict(convert_to_iter_based=True, end=2)),
        (dict(type="MultiStepLR", milestones=[2]), dict(convert_to_iter_based=True, milestones=[2])),
    ],
)
def test_by_iterations_a_schedule_of_epochs_ends_with_the_training(schedule, expected):
    given = dict(schedule, by_epoch=True, convert_to_iter_based=True)
    found = spanning(given, max_epochs=1, max_iters=65, per_pass=10)
    assert {key: found[key] for key in expected} == expected
    assert ("convert_to_iter_based" in found) == ("convert_to_iter_based" in expected)


def test_a_schedule_that_would_never_change_the_rate_is_refused():
    length = dict(max_epochs=1, max_iters=65, per_pass=10)
    with pytest.raises(ConfigError, match="MultiStepLR counts epochs, and this run counts iterations"):
        spanning(dict(type="MultiStepLR", milestones=[2]), **length)
    # A validation lets this one decide.
    assert "end" not in spanning(dict(type="ReduceOnPlateauLR", monitor="mre"), **length)


@pytest.mark.parametrize(
    ("given", "length"),
    [
        (dict(total_steps=4), dict(max_epochs=5, max_iters=50)),
        (dict(total_steps=40, by_epoch=False), dict(max_epochs=5, max_iters=50)),
        (dict(total_steps=2, begin=2), dict(max_epochs=5, max_iters=50)),
        (dict(total_steps=4, convert_to_iter_based=True), dict(max_epochs=1, max_iters=50, per_pass=10)),
    ],
)
def test_a_cycle_that_fails_before_the_training_ends_is_refused(given, length):
    with pytest.raises(ConfigError, match=r"OneCycleLR ends after 4.* of 5.* leave total_steps out"):
        spanning(dict(type="OneCycleLR", eta_max=1.0, **given), **length)
    # One that is left at its end goes on at the rate that it has there.
    ended = dict(given, end=given.get("begin", 0) + given["total_steps"])
    spanning(dict(type="OneCycleLR", eta_max=1.0, **ended), **length)


class Rates(Hook):
    """Notes the rates of two groups of parameters before every step."""

    def __init__(self):
        self.found = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        self.found.append((groups[0]["lr"], groups[-1]["lr"]))


def rates_of_run(folder, **given):
    noted, runner = Rates(), LandmarkRunner.from_cfg(tiny_config(folder, **given))
    runner.register_hook(noted)
    runner.train()
    return noted.found


CYCLE = dict(type="OneCycleLR", eta_max=2e-3, by_epoch=True, convert_to_iter_based=True)
SLOW = {"optim_wrapper.paramwise_cfg": dict(custom_keys={"backbone": dict(lr_mult=0.1)})}


@pytest.mark.parametrize("before", [[], [dict(type="LinearLR", start_factor=0.5, begin=0, end=1)]])
@pytest.mark.parametrize("scale", [{}, dict(auto_scale_lr=dict(enable=True, base_batch_size=1))])
def test_a_cycle_keeps_the_proportions_of_the_groups(tmp_path, before, scale):
    cycle = dict(CYCLE, begin=len(before))
    found = rates_of_run(tmp_path, param_scheduler=[*before, cycle], **SLOW, **scale)
    assert len(found) == 4
    for slow, usual in found:
        assert slow == pytest.approx(0.1 * usual)
    peak = 2e-3 * (2 if scale else 1)
    assert peak / 2 < max(usual for _, usual in found) <= peak * 1.001


def test_a_shipped_schedule_spans_a_run_by_iterations(tmp_path):
    length = dict(_delete_=True, by_epoch=False, max_iters=6, val_interval=6)
    saved = {"default_hooks.checkpoint.by_epoch": False}
    found = [rate for _, rate in rates_of_run(tmp_path, train_cfg=length, param_scheduler=[CYCLE], **saved)]
    assert len(found) == 6  # three passes over two batches
    assert found == pytest.approx(rates(OneCycleLR, 6, eta_max=2e-3))
    assert len(set(found)) == 6
