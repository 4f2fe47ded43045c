"""The command line as a whole: help at once, wrong words named, errors in one line, and scripts in tools/."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmlandmark
from mmlandmark.cli import COMMANDS, main
from mmlandmark.cli.entry import load_command

ROOT = Path(__file__).parents[2]
TOOLS = {
    path: re.search(r'run_command\("([a-z-]+)"', path.read_text())[1]
    for path in sorted((ROOT / "tools").glob("*.py"))
}
PRINT_HELP = """
import contextlib, io, json, runpy, sys
def run(words, script=None):
    output = io.StringIO()
    sys.argv = ["x" if script is None else script, *words]
    with contextlib.redirect_stdout(output):
        try:
            if script is None:
                from mmlandmark.cli import main
                main(words)
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            assert end.code == 0, (words, end.code)
    return output.getvalue()
"""
HEAVY = {"torch", "numpy", "cv2", "mmengine", "mmcv", "scipy", "matplotlib"}


def printed(calls: list[tuple[list[str], str | None]]) -> list[str]:
    """Return what each call prints, all run in one new process; fail if that imports heavy packages."""
    code = f"{PRINT_HELP}\ntexts = [run(*call) for call in {calls!r}]\n"
    code += f"print(json.dumps([texts, sorted({HEAVY!r} & set(sys.modules))]))"
    environment = dict(os.environ, PYTHONPATH=str(ROOT), COLUMNS="100")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    texts, heavy = json.loads(done.stdout)
    assert not heavy, f"--help imports {heavy}"
    return texts


def test_every_module_is_a_command():
    modules = {m.name.replace("_", "-") for m in pkgutil.iter_modules(mmlandmark.cli.__path__)}
    assert set(COMMANDS) == modules - {"entry"}
    assert len(COMMANDS) == len(set(COMMANDS))


def test_help_lists_all_commands_at_once():
    long, short = printed([(["--help"], None), (["-h"], None)])
    assert long == short
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", long, re.MULTILINE), name
    assert max(map(len, long.splitlines())) <= 120


def test_help_of_every_command_comes_at_once():
    texts = printed([([name, "--help"], None) for name in COMMANDS])
    for name, text in zip(COMMANDS, texts, strict=True):
        assert text.startswith(f"usage: mmlandmark {name} ")
        assert load_command(name).__doc__.splitlines()[0] in text
        assert "--traceback" in text


def test_every_tool_is_a_command():
    assert set(TOOLS.values()) <= set(COMMANDS)  # newer commands have no script
    tools = printed([(["--help"], str(path)) for path in TOOLS])
    commands = printed([([name, "--help"], None) for name in TOOLS.values()])
    for path, tool, command in zip(TOOLS, tools, commands, strict=True):
        assert tool.startswith(f"usage: {path.name} ")
        assert tool.split("\n\n", 1)[1] == command.split("\n\n", 1)[1], path


def test_tools_are_short():
    lengths = {path.name: len(path.read_text().split("\n")) for path in TOOLS}
    longer = {name: length for name, length in lengths.items() if length > 7}
    assert longer == {"train.py": 10}  # it has an option more


def test_the_module_runs_as_a_program():
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "mmlandmark", "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"mmlandmark {mmlandmark.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "mmlandmark COMMAND --help lists the arguments of a command"),
        (("trainn",), "there is no command 'trainn' (did you mean 'train' for 'trainn'?)"),
        (("--fast",), "unrecognized arguments: --fast"),
        (("train",), "the following arguments are required: config"),
        (("test", "config.py", "--fast"), "unrecognized arguments: --fast"),
        (("browse", "config.py", "--num", "0"), "argument --num: 0 is below 1"),
        (("browse", "config.py", "--draws", "few"), "argument --draws: 'few' is not an integer"),
    ],
)
def test_a_wrong_command_line_ends_with_2(words, message, mmlandmark_command):
    done = mmlandmark_command(*words)
    assert done.returncode == 2
    assert "usage: mmlandmark" in done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("name", ["train", "test", "print-config", "browse", "flops"])
def test_a_missing_config_is_one_line(name, mmlandmark_command, assert_one_line, tmp_path):
    done = mmlandmark_command(name, "nowhere.py")
    assert_one_line(done, "config nowhere.py does not exist")
    assert list(tmp_path.iterdir()) == []


def test_a_command_has_an_exit_code_of_its_own_for_errors(mmlandmark_command):
    done = mmlandmark_command("check")
    assert done.returncode == 2
    assert "error: give a config, or --data-root or --ann-file" in done.stderr


def test_the_traceback_is_there_on_request():
    # Python itself prints the traceback of an error that leaves the program, and exits with 1.
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py does not exist"):
        main(["train", "nowhere.py", "--traceback"])
