"""Hooks: what they stop, name and keep."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.hooks import (
    InvalidLossHook,
    LandmarkVisualizationHook,
    PeakMonitorHook,
    SafeCheckpointHook,
)
from mmlandmark.engine.hooks.peak_monitor_hook import CollapsedLandmarkError, collapsed_landmarks
from mmlandmark.engine.hooks.safe_checkpoint_hook import to_plain
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.testing import tiny_config


def test_checkpoint_values_become_plain(tmp_path):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    state = OrderedDict(weight=torch.ones(2))
    state._metadata = {"": {"version": 1}}
    checkpoint = dict(
        state_dict=state,
        message_hub=dict(
            log_scalars=OrderedDict(loss=buffer), runtime_info=dict(best=np.float64(1.5), a=np.arange(3))
        ),
        param_schedulers=[dict(base=np.float32(2), anneal=max)],
        meta=dict(names=("a", "b"), tags={"x"}),
    )
    hook = SafeCheckpointHook()
    hook.before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / "c.pth")
    loaded = torch.load(tmp_path / "c.pth", weights_only=True)
    assert loaded["message_hub"]["runtime_info"]["best"] == 1.5
    assert loaded["param_schedulers"] == [{"base": 2.0}]
    assert loaded["meta"]["tags"] == ["x"]
    hook.after_load_checkpoint(None, loaded)
    back = loaded["message_hub"]["log_scalars"]["loss"]
    assert isinstance(back, HistoryBuffer)
    assert back.mean() == 1.5
    # On resume with a GPU the tensors come from there, and numpy takes none of those.
    away = torch.load(tmp_path / "c.pth", weights_only=True, map_location="meta")
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        hook.after_load_checkpoint(None, away)
    with pytest.raises(TypeError, match=r"meta\.thing is a SimpleNamespace"):
        to_plain(dict(thing=SimpleNamespace()), "meta")


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


def fake_runner(names, epoch=9, messages=None):
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(landmark_names=names)))
    return SimpleNamespace(
        epoch=epoch,
        max_epochs=10,
        train_loop=object(),
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


def test_pictures_are_drawn(tmp_path):
    config = tiny_config(
        tmp_path, max_epochs=1, custom_hooks=[dict(type="LandmarkVisualizationHook", num_samples=3)]
    )
    LandmarkRunner.from_cfg(config).train()
    assert len(list(tmp_path.glob("*/vis_data/vis_image/*.png"))) == 3


def test_pictures_of_files_that_training_had_to_fill(tmp_path):
    image = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    image[:2] = np.nan  # trained on with LoadImage(fill_value=...), which the hook does not know
    np.save(tmp_path / "a.npy", image)
    drawn = []
    visualizer = SimpleNamespace(add_datasample=lambda name, image, *_, **__: drawn.append(image))
    sample = LandmarkDataSample(metainfo=dict(img_path=str(tmp_path / "a.npy"), sample_id="a"))
    hook = LandmarkVisualizationHook(num_samples=1)
    hook.after_test_iter(SimpleNamespace(visualizer=visualizer), 0, outputs=[sample])
    np.testing.assert_array_equal(drawn[0], np.nan_to_num(image))
