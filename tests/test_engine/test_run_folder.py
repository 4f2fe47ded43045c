"""The folder of a run: whose it is, what came out; a test overwrites only itself."""

from __future__ import annotations

import math
import os

import pytest

from mmlandmark.apis import find_checkpoint, train_config
from mmlandmark.engine import ConfigError, RunFolder, folder_of_test
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import save_checkpoint
from mmlandmark.utils.files import read_json


def short(folder, **overrides):
    loaders = {
        f"{part}_dataloader": phantom_dataloader(num_samples=2, size=(32, 32), train=part == "train")
        for part in ("train", "val", "test")
    }
    config = tiny_config(folder, max_epochs=1, **loaders, **overrides)
    config.model.backbone.widths = (4, 6)
    return config


def test_a_test_overwrites_only_itself(tmp_path):
    config = short(tmp_path)
    config.default_hooks.checkpoint.update(save_best="mre", rule="less")
    train_config(config)
    plain = folder_of_test(config, find_checkpoint(config, None))
    assert plain == folder_of_test(config, find_checkpoint(config, None)) == tmp_path / "test"
    assert folder_of_test(config, find_checkpoint(config, "best")) == tmp_path / "test_best"
    names = {plain.name, "test_best"}
    for change in (
        lambda c: c.model.update(test_cfg=dict(flip=True)),
        lambda c: c.model.head.codec.update(sigma=3.0),
        lambda c: c.test_evaluator.update(radii=(8,)),
    ):
        other = short(tmp_path)
        other.default_hooks = config.default_hooks
        change(other)
        names.add(folder_of_test(other, tmp_path / "epoch_1.pth").name)
    save_checkpoint({"a": 1}, tmp_path / "elsewhere" / "epoch_1.pth")
    names.add(folder_of_test(config, tmp_path / "elsewhere" / "epoch_1.pth").name)
    (tmp_path / "epoch_0.pth").write_bytes(b"x")
    os.utime(tmp_path / "epoch_0.pth", (1, 1))
    names.add(folder_of_test(config, tmp_path / "epoch_0.pth").name)
    (plain / "test.json").write_text('{"test": "test_best"}')
    assert folder_of_test(config, find_checkpoint(config, None)) == tmp_path / "test_last"
    assert folder_of_test(config, find_checkpoint(config, "best")) == tmp_path / "test"
    (plain / "test.json").unlink()  # as earlier versions left it
    assert "test_epoch_0" in names
    assert len(names) == 7
    moved = short(tmp_path)
    moved.test_dataloader.update(num_workers=1)  # the same test on another machine
    assert folder_of_test(moved, tmp_path / "epoch_1.pth") == plain


def folder_of(path, fingerprint="abc"):
    return RunFolder(path, fingerprint, "mine")


def test_a_folder_knows_its_run_from_the_beginning(tmp_path):
    run = folder_of(tmp_path)
    assert run.read() is run.trained() is run.step_metrics("test") is None
    run.begin()
    run.begin()
    assert read_json(tmp_path / "run.json") == dict(name="mine", config_hash="abc")
    for act in (RunFolder.read, RunFolder.begin, RunFolder.trained):
        with pytest.raises(
            ConfigError, match=r"run 'mine': .* remove that folder to run it again, or use another"
        ):
            act(folder_of(tmp_path, "other"))
    with pytest.raises(RuntimeError, match="run 'mine' ended without a checkpoint"):
        run.finish_training({})


def test_what_came_out_can_be_moved_and_keeps_numbers_that_do_not_exist(tmp_path):
    run = folder_of(tmp_path / "a")
    run.begin()
    for name in ("epoch_2.pth", "best_mre_epoch_1.pth"):
        (run.path / name).write_bytes(b"x")
    run.finish_training(dict(mre=1.5, sdr=float("nan"), name="no number"))
    run.finish_step("test", dict(mre=float("inf")))
    (tmp_path / "a").rename(tmp_path / "b")
    moved = folder_of(tmp_path / "b")
    trained = moved.trained()
    assert trained.file("last") == tmp_path / "b" / "epoch_2.pth"
    assert trained.file("best") == tmp_path / "b" / "best_mre_epoch_1.pth"
    assert trained.metrics["mre"] == 1.5
    assert math.isnan(trained.metrics["sdr"])
    assert set(trained.metrics) == {"mre", "sdr"}
    assert math.isnan(moved.step_metrics("test")["mre"])
    assert moved.step_metrics("other") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"run\.json"),
        ("[]", r"run\.json: expected a JSON object, got list"),
        ('{"config_hash": 3}', "holds a run with other values"),
        ('{"config_hash": "abc", "steps": 3}', r"run\.json is broken: remove it"),
        ('{"config_hash": "abc", "steps": {"test": 3}}', r"run\.json is broken: remove it"),
        ('{"config_hash": "abc", "metrics": [1]}', r"run\.json is broken: remove it"),
    ],
)
def test_a_broken_note_is_an_error(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        folder_of(tmp_path).read()
