"""Checkpoints by the clock."""

from __future__ import annotations

import json
import time

import pytest
import torch

from mmlandmark.apis import train_config
from mmlandmark.engine import UnfinishedRun, latest_checkpoint
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
    with pytest.raises(UnfinishedRun, match=r"saved after epoch 2 of 4; run again with --resume"):
        train_config(config(parts, every_minutes=60, budget_minutes=1))
    assert saved(parts) == ["epoch_2.pth"]
    train_config(config(parts, every_minutes=60, budget_minutes=1), resume="auto")
    assert saved(parts) == ["epoch_2.pth", "epoch_4.pth"]
    one, other = (load_checkpoint(latest_checkpoint(folder))["state_dict"] for folder in (whole, parts))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_nothing_builds_on_a_run_that_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(timed_checkpoint_hook, "time", Clock(0.4))
    both = config(tmp_path, every_minutes=60, budget_minutes=1)
    both.stages = [dict(name="first"), dict(name="second", load_from="run:first:last")]
    for folder in ("01_first", "02_second"):
        with pytest.raises(UnfinishedRun):
            train_config(both)
        assert saved(tmp_path / folder) == ["epoch_2.pth"]
        assert "checkpoint" not in json.loads((tmp_path / folder / "run.json").read_text())
    assert list(train_config(both)) == ["first", "second"]
    assert saved(tmp_path / "02_second") == ["epoch_2.pth", "epoch_4.pth"]


def test_times_must_be_positive():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        TimedCheckpointHook(every_minutes=0)
    with pytest.raises(ValueError, match="must be positive"):
        TimedCheckpointHook(budget_minutes=-1)
