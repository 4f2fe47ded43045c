"""A run that was stopped early stays stopped, and a resumed one counts on."""

from __future__ import annotations

import pytest

from mmlandmark.apis import train_config
from mmlandmark.engine import UnfinishedRun, latest_checkpoint
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


def config(folder, epochs, **hook):
    found = tiny_config(folder, max_epochs=epochs)
    found.custom_hooks = [
        dict(type="EarlyStoppingHook", monitor="mre", rule="less", min_delta=1e6, patience=2, **hook)
    ]
    return found


@pytest.mark.parametrize("save_best", [None, "mre"])
def test_it_stays_stopped(tmp_path, save_best):
    def stopping():
        found = config(tmp_path, 6)
        found.default_hooks.checkpoint.update(save_best=save_best, rule="less")
        return found

    train_config(stopping())
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"
    train_config(stopping(), resume="auto")
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"


def test_the_count_is_in_the_checkpoint(tmp_path):
    found = config(tmp_path, 3)
    train_config(found)
    state = load_checkpoint(tmp_path / "epoch_3.pth")["hook_states"]["EarlyStoppingHook"]
    assert state["wait_count"] == 1, "after two validations, of which the first cannot be an improvement"
    assert state["best_score"] > 0
    assert not state["stopped"]


def test_a_run_that_another_hook_stops_is_not_stopped_early(tmp_path):
    def timed(**hook):
        found = config(tmp_path, 3)
        found.custom_hooks[0].patience = 9
        found.default_hooks.checkpoint = dict(
            type="TimedCheckpointHook", save_best="mre", rule="less", every_minutes=60, **hook
        )
        return found

    with pytest.raises(UnfinishedRun):
        train_config(timed(budget_minutes=1e-9))
    saved = load_checkpoint(tmp_path / "epoch_1.pth")
    assert saved["meta"]["validated"], "saved once more, after the validation that found the best so far"
    assert not saved["hook_states"]["EarlyStoppingHook"]["stopped"]
    train_config(timed(), resume="auto")
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"


def test_a_run_that_stops_between_two_checkpoints_is_saved(tmp_path):
    found = config(tmp_path, 6)
    found.default_hooks.checkpoint.interval = 10
    train_config(found)
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_3.pth"]
    found.custom_hooks[0].patience = 9
    train_config(found, resume="auto")
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth", "it stays stopped"


def test_a_metric_that_nobody_reports_is_named_with_those_there_are(tmp_path):
    found = config(tmp_path, 2)
    found.val_evaluator.per_landmark = True  # whose names are known with the data
    found.custom_hooks[0].monitor = "mre_x"
    with pytest.raises(ValueError, match="monitor is 'mre_x', which no metric reports; there are mre, "):
        train_config(found)
