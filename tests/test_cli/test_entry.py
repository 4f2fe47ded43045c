"""Commands as they are called: help at once, one chain of train and test, errors in one line."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config

import mmlandmark
from mmlandmark.cli import COMMANDS, main
from mmlandmark.cli.entry import load_command
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[2]
TOOLS = sorted((ROOT / "tools").glob("*.py"))
HEAVY = {"torch", "numpy", "cv2", "mmengine", "mmcv", "scipy", "matplotlib"}


def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run ``mmlandmark <first argument> ...`` as a user does."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    for name in ("LOCAL_RANK", "MASTER_ADDR"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "mmlandmark", *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture
def run_here(monkeypatch, capsys, tmp_path):
    """Run a command in this process, which is several seconds faster; return code and output."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, caught.value.code, captured.out, captured.err)

    return run


# ---- help -----------------------------------------------------------------------------------------------


def help_of(code: str) -> str:
    """Run code that prints help and exits; fail if it imports anything heavy."""
    code = (
        "import runpy, sys\n"
        f"try: {code}\n"
        "except SystemExit as exit: code = exit.code\n"
        f"heavy = sorted({HEAVY!r} & set(sys.modules))\n"
        "assert not heavy, f'--help imports {heavy}'\n"
        "sys.exit(code)"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT), COLUMNS="100")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_a_command():
    modules = {m.name.replace("_", "-") for m in pkgutil.iter_modules(mmlandmark.cli.__path__)}
    assert set(COMMANDS) == modules - {"entry"}
    assert len(COMMANDS) == len(set(COMMANDS))


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_all_commands_at_once(option):
    printed = help_of(f"from mmlandmark.cli import main; main([{option!r}])")
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", printed, re.MULTILINE), name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_comes_at_once(name):
    printed = help_of(f"from mmlandmark.cli import main; main([{name!r}, '--help'])")
    assert printed.startswith(f"usage: mmlandmark {name} ")
    assert load_command(name).__doc__.splitlines()[0] in printed
    assert "--traceback" in printed


def test_version(run_here):
    done = run_here("--version")
    assert (done.returncode, done.stdout) == (0, f"mmlandmark {mmlandmark.__version__}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "a command is missing"),
        (("trainn",), "there is no command 'trainn' (did you mean 'train' for 'trainn'?)"),
        (("--fast",), "unrecognized arguments: --fast"),
    ],
)
def test_a_wrong_command_is_named(words, message, run_here):
    done = run_here(*words)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.stem)
def test_a_tool_is_a_command(path):
    """Every script in tools/ runs one command, and every command has one."""
    name = re.search(r'run_command\("([a-z-]+)"\)', path.read_text())[1]
    printed = help_of(
        f"sys.argv = [{path.name!r}, '--help']; runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    expected = help_of(f"from mmlandmark.cli import main; main([{name!r}, '--help'])")
    assert printed.startswith(f"usage: {path.name} ")
    assert printed.split("\n\n", 1)[1] == expected.split("\n\n", 1)[1]


def test_every_command_has_a_tool():
    names = [re.search(r'run_command\("([a-z-]+)"\)', path.read_text())[1] for path in TOOLS]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("name", ["train", "test", "print-config"])
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
        "train", config, "--work-dir", folder / "run", "--seed", 7, "--amp",
        "--cfg-options", "train_cfg.max_epochs=1", "optim_wrapper.optimizer.lr=2e-3", cwd=folder,
    )  # fmt: skip
    test = call(
        "test", config, "--work-dir", folder / "run", "--flip", "--record", folder / "record.json",
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
        "print-config", chain.config, "--cfg-options", "model.head.loss.alpha=20", "--work-dir", "there"
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
    done = run_here("print-config", staged, "--stage", "two")
    assert done.returncode == 0, done.stderr
    assert "max_epochs=3" in done.stdout
    assert "stages" not in done.stdout
    done = run_here("print-config", staged, "--stage", "three")
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


@pytest.mark.parametrize("name", ["train", "test", "print-config"])
def test_a_missing_config_is_one_line(name, run_here, tmp_path):
    done = run_here(name, "nowhere.py")
    assert_one_line(done, "config nowhere.py does not exist")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_type_is_one_line(chain, tmp_path, run_here):
    arguments = (chain.config, "--work-dir", tmp_path, "--cfg-options", "model.backbone.type=UNett")
    assert_one_line(run_here("train", *arguments), "'UNett' is not in", "Did you mean UNet")
    assert not list(tmp_path.glob("*.pth"))


def test_the_traceback_is_there_on_request(chain, tmp_path):
    arguments = [chain.config, "--work-dir", tmp_path, "--cfg-options", "model.backbone.type=UNett"]
    # Python itself prints the traceback of an error that leaves the program, and exits with 1.
    with pytest.raises(KeyError, match="'UNett' is not in"):
        main(["train", *map(str, arguments), "--traceback"])


def test_results_of_other_values_are_not_recorded_as_the_configs(chain, run_here):
    done = run_here("test", chain.config, "--work-dir", chain.folder / "run", "--record")
    assert_one_line(done, "was not trained with", "name a file for its record")
    assert not (chain.config.parent / "results").exists()


def test_weights_of_another_model_are_one_line(chain, tmp_path, run_here):
    save_checkpoint(dict(state_dict={"fc.weight": torch.zeros(2, 2)}), tmp_path / "other.pth")
    done = run_here("test", chain.config, tmp_path / "other.pth", "--work-dir", tmp_path)
    assert_one_line(done, "other.pth holds the weights of another model", "1 unexpected (fc.weight)")
    assert not list(tmp_path.rglob("report.*"))


def test_testing_before_training_is_one_line(chain, tmp_path, run_here):
    done = run_here("test", chain.config, "--work-dir", tmp_path / "empty")
    assert_one_line(done, f"no checkpoint in {tmp_path / 'empty'}: train first, or name one")
