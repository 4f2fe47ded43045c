"""What commands share: their arguments, and how they exit."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch

import mmlandmark
from mmlandmark.utils import command_line as command_line_module
from mmlandmark.utils.command_line import add_config_arguments, command_line, parse_value, run_and_exit

ROOT = Path(__file__).parents[2]


def parser():
    made = argparse.ArgumentParser()
    add_config_arguments(made)
    return made


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("False", False),
        ("none", None),
        ("None", None),
        ("adam", "adam"),
        ("data/isbi 2015", "data/isbi 2015"),
        ("'3'", "3"),
        ("1,2", [1, 2]),
        ("(1,2)", (1, 2)),
        ("[1, 2]", [1, 2]),
        ("a,2,true", ["a", 2, True]),
        ("dict(", "dict("),
        ("{'type': 'EMAHook'}", {"type": "EMAHook"}),
        ("[dict(a=1)]", "[dict(a=1)]"),
        ("", ""),
    ],
)
def test_values(text, value):
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_options_add_up():
    args = parser().parse_args(
        ["c.py", "--cfg-options", "a.b=1", "url=http://x?y=2", "--cfg-options", "a.b=2", "empty="]
    )
    assert args.cfg_options == {"a.b": 2, "url": "http://x?y=2", "empty": ""}
    assert parser().parse_args(["c.py"]).cfg_options == {}  # not what an earlier call has collected


@pytest.mark.parametrize("pair", ["a.b", "=3"])
def test_an_option_without_key_or_value_is_named(pair, capsys):
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["c.py", "--cfg-options", pair])
    assert caught.value.code == 2
    assert f"--cfg-options takes key=value, got {pair!r}" in capsys.readouterr().err


def run(error):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        run_and_exit(main)
    return caught.value.code


@pytest.mark.parametrize(
    "error",
    [
        ValueError("key x is wrong"),
        FileNotFoundError("key x is wrong"),
        KeyError("key x is wrong"),
        TypeError("key x is wrong"),
        FloatingPointError("key x is wrong"),
    ],
)
def test_an_error_a_user_can_mend_is_one_line(error, capsys):
    assert run(error) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: key x is wrong"
    assert "--traceback" in second


def test_an_error_in_a_worker_is_one_line_too(capsys):
    text = (
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in <module>\nValueError: image b.png is broken\n'
    )
    assert run(ValueError(text)) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: ValueError: image b.png is broken"


def test_traceback_on_request_and_for_faults_of_ours():
    def main():
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        run_and_exit(main, traceback=True)

    def fault():
        raise AttributeError("no user can mend this")

    with pytest.raises(AttributeError):
        run_and_exit(fault)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_exit_code(returned, code):
    with pytest.raises(SystemExit) as caught:
        run_and_exit(lambda: returned)
    assert caught.value.code == code


def test_a_run_to_be_gone_on_with_is_no_error(capsys):
    class Later(RuntimeError):
        exit_code = 75

    assert run(Later("go on with --resume")) == 75
    assert capsys.readouterr().err == "go on with --resume\n"
    with pytest.raises(RuntimeError, match="ours"):
        run_and_exit(lambda: (_ for _ in ()).throw(RuntimeError("ours")))


def test_importing_it_costs_nothing():
    code = (
        "import sys; import mmlandmark.utils.command_line\n"
        "assert not {'torch', 'numpy', 'cv2', 'mmengine'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_process_group_is_left_and_what_holds_it_freed(tmp_path):
    """A model in a cycle, as a runner's, would keep gloo's threads until the interpreter aborts over them."""
    made = []

    class Runner(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(1, 1)
            self.__dict__["loop"] = self

    def main():
        meet = f"file://{tmp_path}/meet"
        torch.distributed.init_process_group("gloo", init_method=meet, rank=0, world_size=1)
        made.append(weakref.ref(Runner()))

    gc.disable()
    try:
        with pytest.raises(SystemExit) as end:
            run_and_exit(main)
    finally:
        gc.enable()
    assert end.value.code == 0
    assert made[0]() is None
    assert not torch.distributed.is_initialized()


def test_what_the_operating_system_refuses_is_one_line(tmp_path, capsys):
    assert run(PermissionError(13, "Permission denied", "/x/a.pth")) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: /x/a.pth: Permission denied"
    assert run(OSError(28, "checkpoint a.pth cannot be written: No space left on device")) == 1
    assert "error: checkpoint a.pth cannot be written: No space left" in capsys.readouterr().err


def test_ctrl_c_is_one_line(capsys):
    assert run(KeyboardInterrupt("stopped: x goes on from epoch_1.pth with --resume")) == 130
    assert capsys.readouterr().err == "stopped: x goes on from epoch_1.pth with --resume\n"
    assert run(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_a_reader_that_leaves_is_no_error():
    code = (
        "from mmlandmark.utils.command_line import run_and_exit\n"
        "run_and_exit(lambda: [print('x' * 1000, flush=True) for _ in range(10000)] and None)"
    )
    done = subprocess.run(
        f"{sys.executable} -c \"{code}\" | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 141
    assert done.stderr == ""


def test_sigterm_ends_a_tool_and_what_it_started(tmp_path):
    code = (
        "import multiprocessing, pathlib, sys, time\n"
        "from mmlandmark.utils.command_line import run_and_exit\n"
        "def child(folder):\n"
        "    pathlib.Path(folder, 'child').write_text(str(multiprocessing.current_process().pid))\n"
        "    time.sleep(60)\n"
        "def main():\n"
        "    forked = multiprocessing.get_context('fork')\n"
        "    process = forked.Process(target=child, args=sys.argv[1:], daemon=True)\n"
        "    process.start()\n"
        "    try:\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        pathlib.Path(sys.argv[1], 'tidied').touch()\n"
        "run_and_exit(main)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "child").is_file() or not (tmp_path / "child").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert said == "stopped\n"
    assert (tmp_path / "tidied").exists()
    child = int((tmp_path / "child").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_command_that_can_be_continued_takes_a_signal_as_a_request(number, capsys):
    with pytest.raises(SystemExit) as caught:
        run_and_exit(lambda: os.kill(os.getpid(), number), resumable=True)
    assert caught.value.code == 75
    assert capsys.readouterr().err == "stopped: the same command goes on\n"


class TwoProcesses:
    """What torch.distributed says in a run of two processes."""

    is_available = is_initialized = staticmethod(lambda: True)
    get_backend = staticmethod(lambda: "nccl")
    get_world_size = staticmethod(lambda: 2)

    def __init__(self, rank):
        self.get_rank = lambda: rank


@pytest.mark.parametrize("launched", [False, True])
@pytest.mark.parametrize("rank", [0, 1])
def test_of_several_processes_that_stopped_none_fails_before_others_have_ended(
    rank, launched, tmp_path, monkeypatch, capsys
):
    slept, note = [], tmp_path / "code"
    monkeypatch.setattr(command_line_module.time, "sleep", slept.append)
    monkeypatch.setitem(sys.modules, "torch.distributed", TwoProcesses(rank))
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.delenv(command_line_module.EXIT_NOTE, raising=False)
    if launched:
        note.write_text("of those before")
        monkeypatch.setenv(command_line_module.EXIT_NOTE, str(note))

    class Later(RuntimeError):
        exit_code = 75

    def main():
        assert not note.exists()
        raise Later("go on")

    with pytest.raises(SystemExit) as caught:
        run_and_exit(main)
    assert caught.value.code == (0 if rank or launched else 75)
    assert capsys.readouterr().err == ("" if rank else "go on\n")
    assert bool(slept) == (rank == 0 and not launched)
    if launched:
        assert note.read_text() == "75"


def test_sigterm_is_handled_by_a_tool_only():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        run_and_exit(lambda: None)
    assert signal.getsignal(signal.SIGTERM) is before


def test_packages_are_trusted_by_name(monkeypatch):
    monkeypatch.setenv("MMLANDMARK_TRUST", "first")
    arguments = parser().parse_args(["c.py", "--trust", "second", "third"])
    assert arguments.trust == ["second", "third"]
    assert os.environ["MMLANDMARK_TRUST"] == "first,second,third"


@pytest.mark.slow
@pytest.mark.parametrize("path", [None, str(ROOT)])
def test_a_child_runs_this_package(path, tmp_path):
    """Whatever lies in the current folder, and whether the package is installed or not."""
    (tmp_path / "mmlandmark").mkdir()
    (tmp_path / "mmlandmark" / "__init__.py").write_text("raise RuntimeError('another one')")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {} if path is None else {"PYTHONPATH": path}
    done = subprocess.run(
        command_line("print-config", "nowhere.py"),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "config nowhere.py does not exist" in done.stderr
    code = command_line("train")[2].replace("main()", "print(sys.modules['mmlandmark'].__file__)")
    where = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert Path(where.stdout.strip()) == Path(mmlandmark.__file__)
