"""The runner's checkpoints: whole, loaded safely, resumed exactly; see test_resume.py for the last."""

from __future__ import annotations

import copy
import json

import pytest

from mmlandmark.apis import train_config
from mmlandmark.engine import LandmarkRunner, latest_checkpoint
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint


def short(folder, **overrides):
    loaders = {
        f"{part}_dataloader": phantom_dataloader(num_samples=2, size=(32, 32), train=part == "train")
        for part in ("train", "val", "test")
    }
    config = tiny_config(folder, max_epochs=1, **loaders, **overrides)
    config.model.backbone.widths = (4, 6)
    return config


def test_the_newest_checkpoint_is_broken_the_one_beside_it_is_named(tmp_path):
    config = short(tmp_path)
    config.train_cfg.max_epochs = 2
    train_config(config)
    newest = tmp_path / "epoch_2.pth"
    newest.write_bytes(newest.read_bytes()[:5000])
    with pytest.raises(
        ValueError, match=r"epoch_2\.pth cannot be loaded.* remove epoch_2\.pth.* from epoch_1\.pth"
    ):
        train_config(config, resume="auto")
    newest.unlink()
    train_config(config, resume="auto")
    assert newest.is_file()
    for path in (newest, tmp_path / "epoch_1.pth"):
        path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"there is no other in the folder"):
        train_config(config, resume="auto")


def test_a_refused_run_leaves_the_config_of_the_one_before(tmp_path):
    config = short(tmp_path)
    train_config(config)
    before = (tmp_path / "config.json").read_bytes(), (tmp_path / "config.py").read_bytes()
    other = short(tmp_path, optim_wrapper=dict(optimizer=dict(type="SGD")))
    with pytest.raises(ValueError, match="another type of optimiser"):
        train_config(other, resume="auto")
    assert ((tmp_path / "config.json").read_bytes(), (tmp_path / "config.py").read_bytes()) == before
    assert json.loads(before[0])["optim_wrapper"]["optimizer"]["type"] == "Adam"


def test_killed_while_saving_the_one_before_is_kept(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, max_epochs=3)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1, max_keep_ckpts=1)
    LandmarkRunner.from_cfg(copy.deepcopy(config)).train()
    assert [p.name for p in tmp_path.glob("epoch_*.pth")] == ["epoch_3.pth"]

    def killed(*_):
        raise KeyboardInterrupt

    config.train_cfg.max_epochs, config.resume = 4, True
    runner = LandmarkRunner.from_cfg(config)
    monkeypatch.setattr("mmlandmark.engine.runner_checkpoints.save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"


def test_a_resumed_run_does_not_ask_for_published_weights(tmp_path):
    config = tiny_config(tmp_path, max_epochs=1)
    LandmarkRunner.from_cfg(copy.deepcopy(config)).train()
    config.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "gone.pth"))
    config.train_cfg.max_epochs, config.resume = 2, True
    LandmarkRunner.from_cfg(config).train()
    assert latest_checkpoint(tmp_path).name == "epoch_2.pth"
    config.resume = False
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        LandmarkRunner.from_cfg(config).train()


def test_a_checkpoint_without_states_of_hooks_goes_on_and_says_so(tmp_path):
    train_config(short(tmp_path))
    old = load_checkpoint(tmp_path / "epoch_1.pth")
    assert old.pop("hook_states")["CheckpointHook"] == dict(best={}, kept=[])
    save_checkpoint(old, tmp_path / "epoch_1.pth")
    config = short(tmp_path, log_level="WARNING")
    config.train_cfg.max_epochs = 2
    train_config(config, resume="auto")
    logs = "".join(path.read_text() for path in tmp_path.glob("*/*.log"))
    assert "the checkpoint holds no state of CheckpointHook: they start from the beginning" in logs
