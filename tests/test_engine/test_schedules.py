"""Schedules work in runs of any length."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine import optim

from mmlandmark.engine import OneCycleLR
from mmlandmark.engine.schedules import spanning
from mmlandmark.registry import PARAM_SCHEDULERS


def rates(kind, steps, **options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = kind(optimizer, eta_max=1.0, total_steps=steps, by_epoch=False, **options)
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
        (dict(type="OneCycleLR", eta_max=1.0, total_steps=3), "total_steps", 3),
        (dict(type="CosineAnnealingLR", by_epoch=False), "end", 70),
        (dict(type="MultiStepLR", milestones=[2]), "end", None),
        (dict(type=optim.OneCycleLR, eta_max=1.0), "total_steps", 7),
    ],
)
def test_a_schedule_spans_the_training(schedule, key, expected):
    assert spanning(schedule, max_epochs=7, max_iters=70).get(key) == expected
