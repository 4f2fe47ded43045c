"""Checkpoints by the clock."""

from __future__ import annotations

import time

import pytest
import torch

from mmlandmark.apis import train_config
from mmlandmark.engine import latest_checkpoint
from mmlandmark.engine.hooks import TimedCheckpointHook, timed_checkpoint_hook
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


class Clock:
    """An hour a look."""

    def __init__(self, minutes: float) -> None:
        self.now, self.step = 0.0, 60 * minutes

    def monotonic(self) -> float:
        self.now += self.step
        return self.now

    def __getattr__(self, name: str):
        return getattr(time, name)


def config(folder, **hook):
    found = tiny_config(folder, max_epochs=4)
    found.default_hooks.checkpoint = dict(type="TimedCheckpointHook", max_keep_ckpts=10, **hook)
    return found


def saved(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("epoch_*.pth"))


def test_saves_by_the_clock(tmp_path, monkeypatch):
    # One look at the clock per epoch and one per save: an epoch takes 0.4 of a minute, saving as much.
    monkeypatch.setattr(timed_checkpoint_hook, "time", Clock(0.4))
    train_config(config(tmp_path, every_minutes=0.7))
    assert saved(tmp_path) == ["epoch_2.pth", "epoch_4.pth"]


def test_stops_in_time_and_goes_on(tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_config(config(whole, every_minutes=60))
    assert saved(whole) == ["epoch_4.pth"], "the last epoch is saved in any case"
    # An epoch takes 0.4 of a minute and one minute is given: after the second none is begun.
    monkeypatch.setattr(timed_checkpoint_hook, "time", Clock(0.4))
    train_config(config(parts, every_minutes=60, budget_minutes=1))
    assert saved(parts) == ["epoch_2.pth"]
    train_config(config(parts, every_minutes=60, budget_minutes=1), resume="auto")
    assert saved(parts) == ["epoch_2.pth", "epoch_4.pth"]
    one, other = (load_checkpoint(latest_checkpoint(folder))["state_dict"] for folder in (whole, parts))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_times_must_be_positive():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        TimedCheckpointHook(every_minutes=0)
    with pytest.raises(ValueError, match="must be positive"):
        TimedCheckpointHook(budget_minutes=-1)
