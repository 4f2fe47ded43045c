"""Commands run in this process, which is several seconds faster than in their own, and one trained run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from mmlandmark.cli import invoke, main
from mmlandmark.testing import phantom_dataloader, tiny_config


@pytest.fixture
def mmlandmark_command(monkeypatch, capsys, tmp_path):
    """Return a function that runs ``mmlandmark ...`` in an empty folder and returns exit code and output."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, caught.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def assert_one_line():
    """Return a function that fails unless a command ended with one error line that holds all of ``parts``."""

    def check(done: subprocess.CompletedProcess, *parts: str) -> None:
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        for part in parts:
            assert part in error
        assert "--traceback" in done.stderr.splitlines()[-1]

    return check


class Trained(NamedTuple):
    """A config and the work folder of its run."""

    config: Path
    folder: Path


def write_config(folder: Path) -> Path:
    """Write the config of a small run; a spine has two sides, so --flip has a meaning."""
    made = tiny_config("unused", max_epochs=9)
    made.pop("work_dir")
    made.model.head.num_landmarks = 68
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        made[key] = phantom_dataloader(68, train=key.startswith("train"))
    made.dump(folder / "unet_tiny.py")
    return folder / "unet_tiny.py"


@pytest.fixture
def config(tmp_path_factory) -> Path:
    """Write a config; its folder is not the current one."""
    return write_config(tmp_path_factory.mktemp("configs"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    """Train one epoch of a config with other values."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder)
    options = ["--cfg-options", "train_cfg.max_epochs=1", "optim_wrapper.optimizer.lr=2e-3"]
    invoke("train", [str(config), "--work-dir", str(folder / "run"), "--seed", "7", "--amp", *options])
    return Trained(config, folder / "run")
