"""The states of hooks in checkpoints."""

from __future__ import annotations

import pytest

from mmlandmark.engine.hooks import CheckpointHook, EarlyStoppingHook, PeakMonitorHook, TimedCheckpointHook
from mmlandmark.engine.hooks.stateful_hook import hook_states, restore_hooks


class Counting(EarlyStoppingHook):
    """A further class with a state."""


def hooks():
    return [
        CheckpointHook(),
        PeakMonitorHook(),
        EarlyStoppingHook(monitor="mre", rule="less"),
        EarlyStoppingHook(monitor="sdr_2mm", rule="greater"),
        Counting(monitor="mre", rule="less"),
    ]


def test_states_go_by_the_names_of_the_hooks():
    first, second = hooks(), hooks()
    first[2].wait_count, first[3].wait_count, first[4].best_score = 3, 4, 1.5
    states = hook_states(first)
    assert list(states) == ["CheckpointHook", "EarlyStoppingHook", "EarlyStoppingHook#2", "Counting"]
    assert restore_hooks(second, states, "x.pth") == []
    assert [hook.wait_count for hook in second[2:]] == [3, 4, 0]
    assert second[4].best_score == 1.5
    assert hook_states(second) == states


def test_a_hook_without_a_state_in_the_checkpoint_is_named():
    states = hook_states(hooks()[:1])
    assert restore_hooks(hooks(), states, "x.pth") == ["EarlyStoppingHook", "EarlyStoppingHook#2", "Counting"]


@pytest.mark.parametrize(
    ("name", "state", "message"),
    [
        (
            "EarlyStoppingHook",
            dict(wait_count=-1, best_score=None, stopped=False),
            "wait_count is '-1', no count",
        ),
        ("EarlyStoppingHook", dict(wait_count=1), r"\['best_score', 'stopped'\] missing"),
        (
            "EarlyStoppingHook",
            dict(wait_count=1, best_score="x", stopped=False),
            "best_score is 'x', no finite",
        ),
        ("EarlyStoppingHook", dict(wait_count=1, best_score=1.0, stopped=1), "stopped is a int"),
        ("CheckpointHook", dict(kept=["../x"]), r"kept is '\.\./x', no count"),
        ("CheckpointHook", dict(best=dict(mre=dict(file="../x.pth", score=1.0, step=1))), "no file name"),
        ("CheckpointHook", dict(best=[]), "best is a list"),
        ("TimedCheckpointHook", dict(kept=7), "kept is a int"),
    ],
)
def test_a_broken_state_is_named(name, state, message):
    kinds = [CheckpointHook(), TimedCheckpointHook(), EarlyStoppingHook(monitor="mre", rule="less")]
    with pytest.raises(ValueError, match=rf"checkpoint x\.pth cannot be resumed, .*'{name}'\]: .*{message}"):
        restore_hooks(kinds, {name: state}, "x.pth")
