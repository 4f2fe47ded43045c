"""The run and the checkpoint to test."""

from __future__ import annotations

import pytest

from mmlandmark import apis
from mmlandmark.apis import check_trained_as, find_checkpoint
from mmlandmark.engine import ConfigError


def test_the_newest_checkpoint_is_found(trained, tmp_path):
    config = trained.config()
    assert find_checkpoint(config, None) == trained.folder / "epoch_2.pth"
    assert find_checkpoint(config, "other.pth").name == "other.pth"
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*nothing: train first, or name one"):
        find_checkpoint(trained.config(work_dir=str(tmp_path / "nothing")), None)
    staged = trained.config(work_dir=str(tmp_path), stages=[dict(name="a"), dict(name="b")])
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*02_b"):
        find_checkpoint(staged, None)


def test_weights_are_those_of_the_config(trained, tmp_path):
    checkpoint = trained.folder / "epoch_2.pth"
    check_trained_as(trained.config(work_dir="elsewhere", randomness=dict(seed=9)), checkpoint)
    with pytest.raises(ConfigError, match=r"epoch_2.pth was not trained with .*unet_tiny.py as it is now"):
        check_trained_as(trained.config(optim_wrapper=dict(optimizer=dict(lr=0.5))), checkpoint)
    (tmp_path / "moved.pth").write_bytes(checkpoint.read_bytes())
    check_trained_as(trained.config(), tmp_path / "moved.pth")  # nothing says how it was trained
    staged = trained.config(work_dir=str(trained.folder / "staged"))
    staged.stages = [dict(name="only", train_cfg=dict(max_epochs=1))]
    apis.train_config(staged)
    check_trained_as(staged, find_checkpoint(staged, None))
    with pytest.raises(ConfigError, match="was not trained with"):
        check_trained_as(trained.config(), find_checkpoint(staged, None))
