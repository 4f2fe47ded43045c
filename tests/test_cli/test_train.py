"""mmlandmark train: options reach the run, errors are one line and leave nothing behind."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlandmark.cli.entry import invoke, make_parser
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


def test_options_reach_the_run(trained):
    checkpoint = load_checkpoint(trained.folder / "epoch_1.pth")
    assert checkpoint["meta"]["seed"] == 7
    (dumped,) = trained.folder.glob("*.py")
    config = Config.fromfile(dumped)
    assert config.train_cfg.max_epochs == 1
    assert config.optim_wrapper.type == "AutocastOptimWrapper"
    assert config.optim_wrapper.optimizer.lr == 2e-3


def test_a_finished_run_is_not_trained_again(trained, mmlandmark_command):
    before = (trained.folder / "epoch_1.pth").stat().st_mtime_ns
    options = ("--cfg-options", "train_cfg.max_epochs=1", "optim_wrapper.optimizer.lr=2e-3")
    words = (trained.config, "--work-dir", trained.folder, "--seed", 7, "--amp", "--resume", *options)
    done = mmlandmark_command("train", *words)
    assert done.returncode == 0, done.stderr
    assert (trained.folder / "epoch_1.pth").stat().st_mtime_ns == before


def test_a_training_is_replaced_only_if_that_is_wanted(
    trained, mmlandmark_command, assert_one_line, monkeypatch
):
    words = [str(trained.config), "--work-dir", str(trained.folder)]
    before = (trained.folder / "epoch_1.pth").read_bytes()
    done = mmlandmark_command("train", *words)
    assert_one_line(done, str(trained.folder), "up to epoch_1.pth", "--resume", "--work-dir", "--overwrite")
    assert (trained.folder / "epoch_1.pth").read_bytes() == before
    begun = []
    monkeypatch.setattr(
        "mmlandmark.apis.train_config", lambda config, **options: begun.append(options["resume"])
    )
    invoke("train", [*words, "--overwrite"])
    invoke("train", [*words, "--resume"])
    assert begun == [None, "auto"]


def test_an_unknown_type_is_one_line(config, tmp_path, mmlandmark_command, assert_one_line):
    done = mmlandmark_command("train", config, "--cfg-options", "model.backbone.type=UNett")
    assert_one_line(done, "'UNett' is not in", "Did you mean UNet")
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--teacher", "a.pth", "c.py"], ["--input=teacher=a.pth", "c.py"]),
        (["c.py", "--teacher=a.pth", "--amp"], ["c.py", "--input=teacher=a.pth", "--amp"]),
        (["c.py", "--input", "teacher=a.pth"], ["c.py", "--input", "teacher=a.pth"]),
    ],
)
def test_the_script_has_a_short_form_for_teachers(words, expected, monkeypatch):
    calls = []
    monkeypatch.setattr("mmlandmark.cli.run_command", lambda *call: calls.append(call))
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    runpy.run_path(str(Path(__file__).parents[2] / "tools" / "train.py"), run_name="__main__")
    assert calls == [("train", expected)]
    assert make_parser("train").parse_args(expected).input == {"teacher": "a.pth"}


@pytest.mark.parametrize("pair", ["teacher", "=a.pth", "teacher="])
def test_an_input_without_name_or_file_is_named(pair, mmlandmark_command):
    done = mmlandmark_command("train", "c.py", "--input", pair)
    assert done.returncode == 2
    assert f"--input takes name=file, got {pair!r}" in done.stderr


def test_scaling_the_rate_reaches_the_run(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("mmlandmark.apis.train_config", lambda config, **_: seen.append(config))
    tiny_config(tmp_path / "run", auto_scale_lr=dict(base_batch_size=8)).dump(tmp_path / "tiny.py")
    invoke("train", [str(tmp_path / "tiny.py")])
    invoke("train", [str(tmp_path / "tiny.py"), "--auto-scale-lr"])
    assert [config.auto_scale_lr.to_dict() for config in seen] == [
        dict(base_batch_size=8),
        dict(base_batch_size=8, enable=True),
    ]
