"""The runner: what it refuses before training, and how it ends."""

from __future__ import annotations

import pytest

from mmlandmark.apis import train_config
from mmlandmark.engine import ConfigError
from mmlandmark.testing import phantom_dataloader, tiny_config


def short(folder, **overrides):
    loaders = {
        f"{part}_dataloader": phantom_dataloader(num_samples=2, size=(32, 32), train=part == "train")
        for part in ("train", "val", "test")
    }
    config = tiny_config(folder, max_epochs=1, **loaders, **overrides)
    config.model.backbone.widths = (4, 6)
    return config


def test_float16_needs_a_gpu(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = short(tmp_path, optim_wrapper=dict(type="AmpOptimWrapper"))
    with pytest.raises(ConfigError, match="AmpOptimWrapper trains in float16, which needs a GPU"):
        train_config(config)
    assert not list(tmp_path.glob("*.pth"))


def test_a_run_that_is_stopped_says_how_to_go_on(tmp_path, monkeypatch):
    from mmlandmark.engine.hooks import EpochSeedHook

    original, stop = EpochSeedHook.before_train_epoch, {"at": 0}

    def stopped(self, runner):
        if runner.epoch == stop["at"]:
            raise KeyboardInterrupt
        original(self, runner)

    monkeypatch.setattr(EpochSeedHook, "before_train_epoch", stopped)
    config = short(tmp_path)
    config.train_cfg.max_epochs = 2
    with pytest.raises(KeyboardInterrupt, match=r"stopped before the first checkpoint of .*: start again"):
        train_config(config)
    stop["at"] = 1
    with pytest.raises(KeyboardInterrupt, match=r"stopped: .* resumes from epoch_1\.pth with --resume"):
        train_config(config)
    config.work_dir, config.stages = str(tmp_path / "plan"), [dict(name="one")]
    with pytest.raises(KeyboardInterrupt, match=r"stopped: .*01_one resumes from epoch_1\.pth$"):
        train_config(config)  # stages resume by themselves
    assert not (tmp_path / "run.lock").exists()


@pytest.mark.parametrize(
    ("validation", "why"),
    [
        (dict(val_dataloader=None, val_evaluator=None, val_cfg=None), "has no val_dataloader"),
        (dict(train_cfg=dict(val_begin=2)), "ends before val_begin=2"),
    ],
)
def test_what_waits_for_a_validation_that_never_comes_is_told(tmp_path, capsys, validation, why):
    idle = dict(
        param_scheduler=[dict(type="ReduceOnPlateauLR", monitor="mre", rule="less")],
        custom_hooks=[dict(type="EarlyStoppingHook", monitor="mre", rule="less")],
        **{"default_hooks.checkpoint.save_best": "mre", "default_hooks.checkpoint.rule": "less"},
    )
    for given, expected in (({}, 0), (validation, 1)):
        config = short(tmp_path / str(expected), **idle)
        config.merge_from_dict(given)
        train_config(config)
        told = capsys.readouterr()
        names = "save_best=['mre'], EarlyStoppingHook, ReduceOnPlateauLR"
        line = f"{names}: without effect, since the run {why}"
        assert (told.out + told.err).count(line) == expected
