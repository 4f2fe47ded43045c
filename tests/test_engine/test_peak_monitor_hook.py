"""A landmark without a peak is named."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import IterBasedTrainLoop

from mmlandmark.engine.hooks import PeakMonitorHook
from mmlandmark.engine.hooks.peak_monitor_hook import CollapsedLandmarkError, collapsed_landmarks


def fake_runner(names, epoch=9, messages=None, loop=None):
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(landmark_names=names)))
    return SimpleNamespace(
        epoch=epoch,
        max_epochs=10,
        iter=90,
        max_iters=100,
        _train_loop=loop or object(),
        val_dataloader=loader,
        test_dataloader=loader,
        message_hub=SimpleNamespace(update_scalar=lambda *a: None),
        logger=SimpleNamespace(log=lambda level, text: messages.append(text)),
    )


class Scored(dict):
    """A sample that has scores and nothing else."""

    def __getattr__(self, name):
        return self[name]


def test_a_collapsed_landmark_is_named():
    assert collapsed_landmarks(torch.tensor([0.9, 0.01, 0.8]), 0.1) == [1]
    messages = []
    runner = fake_runner(["sella", "gonion", "menton"], messages=messages)
    hook = PeakMonitorHook()
    outputs = [
        Scored(pred_scores=torch.tensor([0.9, 0.01, 0.8])),
        Scored(pred_scores=torch.tensor([0.7, 0.02, 0.9])),
    ]
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, outputs=outputs)
    hook.after_val_epoch(runner)
    assert len(messages) == 1
    assert "gonion (index 1, mean peak 0.015)" in messages[0]

    early = fake_runner(["sella", "gonion", "menton"], epoch=1, messages=messages)
    hook.after_val_iter(early, 0, outputs=outputs)
    hook.after_val_epoch(early)
    assert len(messages) == 1  # peaks may still be growing
    strict = PeakMonitorHook(action="raise")
    strict.after_test_iter(runner, 0, outputs=outputs)
    with pytest.raises(CollapsedLandmarkError, match="gonion"):
        strict.after_test_epoch(runner)
    with pytest.raises(ValueError, match="ratio"):
        PeakMonitorHook(ratio=2)


def test_a_run_by_iterations_is_far_enough_by_its_iterations():
    loop, messages = object.__new__(IterBasedTrainLoop), []
    hook, low = PeakMonitorHook(), [Scored(pred_scores=torch.tensor([0.9, 0.01, 0.8]))]
    runner = fake_runner(["sella", "gonion", "menton"], epoch=0, messages=messages, loop=loop)
    for done, told in ((20, 0), (90, 1)):
        runner.iter = done
        hook.after_val_iter(runner, 0, outputs=low)
        hook.after_val_epoch(runner)
        assert len(messages) == told
