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


def saved(folder, unit="epoch") -> list[str]:
    return sorted(path.name for path in folder.glob(f"{unit}_*.pth"))


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


def by_iteration(folder, **hook):
    """Return the config of 8 steps, validated after the fourth."""
    found = config(folder, by_epoch=False, save_best="mre", rule="less", **hook)
    found.train_dataloader.sampler = dict(type="InfiniteSampler", shuffle=True)
    found.train_cfg = dict(by_epoch=False, max_iters=8, val_interval=4)
    found.log_processor = dict(by_epoch=False)
    found.param_scheduler = [dict(type="LinearLR", start_factor=0.5, by_epoch=False, begin=0, end=6)]
    return found


def test_by_iterations_it_saves_by_the_clock_stops_in_time_and_goes_on(tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    monkeypatch.setattr(timed_checkpoint_hook, "time", Clock(0.4))
    train_config(by_iteration(whole, every_minutes=0.7))
    assert saved(whole, "iter") == [f"iter_{n}.pth" for n in (2, 4, 6, 8)]
    # One minute is given: after the second step none is begun.
    with pytest.raises(UnfinishedRun, match=r"saved after iteration 2 of 8; run again with --resume"):
        train_config(by_iteration(parts, every_minutes=60, budget_minutes=1))
    assert saved(parts, "iter") == ["iter_2.pth"]
    for _ in range(2):
        with pytest.raises(UnfinishedRun):
            train_config(by_iteration(parts, every_minutes=60, budget_minutes=1), resume="auto")
    train_config(by_iteration(parts, every_minutes=60, budget_minutes=1), resume="auto")
    assert saved(parts, "iter") == saved(whole, "iter")
    one, other = (load_checkpoint(latest_checkpoint(folder))["state_dict"] for folder in (whole, parts))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("make", [config, by_iteration])
def test_a_hook_that_would_do_nothing_is_refused(tmp_path, make):
    found = make(tmp_path)
    right = found.train_cfg.get("by_epoch", True)
    found.default_hooks.checkpoint.by_epoch = not right
    with pytest.raises(ValueError, match=f"so the run .*: set by_epoch={right}"):
        train_config(found)


def test_times_must_be_positive():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        TimedCheckpointHook(every_minutes=0)
    with pytest.raises(ValueError, match="must be positive"):
        TimedCheckpointHook(budget_minutes=-1)
