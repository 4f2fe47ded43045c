"""The tools as they are called: help at once, one chain of train and test, errors in one line."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config

from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[2]
TOOLS = sorted(p.name for p in (ROOT / "tools").glob("*.py"))
HEAVY = {"torch", "numpy", "cv2", "mmengine", "mmcv", "scipy", "matplotlib"}


def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run ``python tools/<first argument> ...`` as a user does."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    for name in ("LOCAL_RANK", "MASTER_ADDR"):
        environment.pop(name, None)
    name, *rest = map(str, arguments)
    command = [sys.executable, str(ROOT / "tools" / name), *rest]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture
def run_here(monkeypatch, capsys, tmp_path):
    """Run a tool as a script in this process, which is several seconds faster; return code and output."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
        captured = capsys.readouterr()
        return subprocess.CompletedProcess(name, caught.value.code, captured.out, captured.err)

    return run


# ---- help -----------------------------------------------------------------------------------------------


def test_tools_are_found():
    assert {"train.py", "test.py", "print_config.py"} <= set(TOOLS)


@pytest.mark.parametrize("name", TOOLS)
def test_help_comes_at_once(name):
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{name!r}, '--help']\n"
        f"try: runpy.run_path({str(ROOT / 'tools' / name)!r}, run_name='__main__')\n"
        "except SystemExit as exit: code = exit.code\n"
        f"heavy = sorted({HEAVY!r} & set(sys.modules))\n"
        "assert not heavy, f'--help imports {heavy}'\n"
        "sys.exit(code)"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    lines = done.stdout.splitlines()
    assert any(line and not line.startswith((" ", "usage:", "options:")) for line in lines), (
        "says what it does"
    )


@pytest.mark.parametrize("name", ["train.py", "test.py", "print_config.py"])
def test_a_wrong_command_line_ends_with_2(name, run_here):
    for arguments in [(), ("config.py", "--no-such-flag")]:
        done = run_here(name, *arguments)
        assert done.returncode == 2
        assert "usage:" in done.stderr
        assert "Traceback" not in done.stderr


# ---- one chain ------------------------------------------------------------------------------------------


class Chain(NamedTuple):
    """What the chain of calls left behind."""

    folder: Path
    config: Path
    train: subprocess.CompletedProcess
    test: subprocess.CompletedProcess


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Chain:
    """Train one epoch, then test the checkpoint: one call of either tool."""
    folder = tmp_path_factory.mktemp("chain")
    config = folder / "unet_tiny.py"
    made = tiny_config("never_used", max_epochs=9)
    made.pop("work_dir")
    made.model.head.num_landmarks = 68  # a spine has two sides, so --flip has a meaning
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        made[key] = phantom_dataloader(68, train=key.startswith("train"))
    made.dump(config)
    train = call(
        "train.py", config, "--work-dir", folder / "run", "--seed", 7, "--amp",
        "--cfg-options", "train_cfg.max_epochs=1", "optim_wrapper.optimizer.lr=2e-3", cwd=folder,
    )  # fmt: skip
    test = call(
        "test.py", config, "--work-dir", folder / "run", "--flip", "--record", folder / "record.json",
        "--no-figures", folder / "run" / "epoch_1.pth", cwd=folder,
    )  # fmt: skip
    return Chain(folder, config, train, test)


def test_train(chain):
    assert chain.train.returncode == 0, chain.train.stderr[-2000:]
    checkpoint = load_checkpoint(chain.folder / "run" / "epoch_1.pth")
    assert checkpoint["meta"]["seed"] == 7
    (dumped,) = (chain.folder / "run").glob("*.py")
    config = Config.fromfile(dumped)
    assert config.train_cfg.max_epochs == 1
    assert config.optim_wrapper.type == "AutocastOptimWrapper"
    assert config.optim_wrapper.optimizer.lr == 2e-3
    assert not (chain.folder / "work_dirs").exists()


def test_test(chain):
    assert chain.test.returncode == 0, chain.test.stderr[-2000:]
    out = chain.folder / "run" / "test"
    assert (out / "report.md").read_text() in chain.test.stdout
    assert f"recorded {chain.folder / 'record.json'}" in chain.test.stdout
    assert not list(out.glob("*.png")), "--no-figures"
    record = json.loads((chain.folder / "record.json").read_text())
    assert (record["config"], record["seed"], record["epoch"]) == ("unet_tiny", 7, 1)
    assert {"mre", "sdr_2px", "sdr_4px"} <= set(record["metrics"])
    report = json.loads((out / "report.json").read_text())
    assert report["overall"]["mre"] == pytest.approx(record["metrics"]["mre"])


def test_print_config(chain):
    done = call(
        "print_config.py", chain.config, "--cfg-options", "model.head.loss.alpha=20", "--work-dir", "there"
    )
    assert done.returncode == 0, done.stderr
    printed = chain.folder / "printed.py"
    printed.write_text(done.stdout)
    config = Config.fromfile(printed)  # what is printed is a config
    assert config.model.head.loss == dict(type="EWCLoss", alpha=20)
    assert config.work_dir == "there"
    assert config.train_cfg.max_epochs == 9


def test_print_config_of_a_stage(chain, run_here):
    staged = chain.folder / "staged.py"
    staged.write_text(
        "_base_ = './unet_tiny.py'\n"
        "stages = [dict(name='one'), dict(name='two', train_cfg=dict(max_epochs=3))]\n"
    )
    done = run_here("print_config.py", staged, "--stage", "two")
    assert done.returncode == 0, done.stderr
    assert "max_epochs=3" in done.stdout
    assert "stages" not in done.stdout
    done = run_here("print_config.py", staged, "--stage", "three")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: no stage 'three'; there are ['one', 'two']"


# ---- errors ---------------------------------------------------------------------------------------------


def assert_one_line(done: subprocess.CompletedProcess, *parts: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for part in parts:
        assert part in error
    assert "--traceback" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["train.py", "test.py", "print_config.py"])
def test_a_missing_config_is_one_line(name, run_here, tmp_path):
    done = run_here(name, "nowhere.py")
    assert_one_line(done, "config nowhere.py does not exist")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_type_is_one_line(chain, tmp_path, run_here):
    arguments = (chain.config, "--work-dir", tmp_path, "--cfg-options", "model.backbone.type=UNett")
    assert_one_line(run_here("train.py", *arguments), "'UNett' is not in", "Did you mean UNet")
    assert not list(tmp_path.glob("*.pth"))


def test_the_traceback_is_there_on_request(chain, tmp_path, monkeypatch):
    arguments = [chain.config, "--work-dir", tmp_path, "--cfg-options", "model.backbone.type=UNett"]
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments), "--traceback"])
    # Python itself prints the traceback of an error that leaves the script, and exits with 1.
    with pytest.raises(KeyError, match="'UNett' is not in"):
        runpy.run_path(str(ROOT / "tools" / "train.py"), run_name="__main__")


def test_results_of_other_values_are_not_recorded_as_the_configs(chain, run_here):
    done = run_here("test.py", chain.config, "--work-dir", chain.folder / "run", "--record")
    assert_one_line(done, "was not trained with", "name a file for its record")
    assert not (chain.config.parent / "results").exists()


def test_weights_of_another_model_are_one_line(chain, tmp_path, run_here):
    save_checkpoint(dict(state_dict={"fc.weight": torch.zeros(2, 2)}), tmp_path / "other.pth")
    done = run_here("test.py", chain.config, tmp_path / "other.pth", "--work-dir", tmp_path)
    assert_one_line(done, "other.pth holds the weights of another model", "1 unexpected (fc.weight)")
    assert not list(tmp_path.rglob("report.*"))


def test_testing_before_training_is_one_line(chain, tmp_path, run_here):
    done = run_here("test.py", chain.config, "--work-dir", tmp_path / "empty")
    assert_one_line(done, f"no checkpoint in {tmp_path / 'empty'}: train first, or name one")
