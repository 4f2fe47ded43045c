"""``mmlandmark launch``: one run in two processes, by the command and by the scripts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from mmlandmark.cli import launch
from mmlandmark.engine import launching
from mmlandmark.engine.launching import children_of
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import ROOT, free_port, need_two_processes, wait_until


@pytest.fixture
def launched(monkeypatch):
    """Return what would be launched, and the threads of each process."""
    seen = []
    monkeypatch.setattr(
        launching, "launch", lambda *given: seen.append((*given, os.environ["OMP_NUM_THREADS"])) or 0
    )
    monkeypatch.setattr(launching, "threads_of_each", lambda processes: 60 // processes)
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # restored afterwards
    monkeypatch.delenv("OMP_NUM_THREADS")
    return seen


def run(*words):
    import argparse

    parser = argparse.ArgumentParser()
    launch.add_arguments(parser)
    return launch.run(parser.parse_args(list(words)))


def test_the_arguments_of_the_command_are_its_own(launched):
    assert run("--processes", "3", "train", "config.py", "--seed", "1", "--resume") == 0
    words, agent, threads = launched[0]
    assert words == ["train", "config.py", "--seed", "1", "--resume"]
    assert agent == launching.agent_arguments(3)
    assert threads == "20"


def test_threads_are_those_that_are_given(launched, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    run("--processes", "3", "test", "config.py")
    run("--processes", "3", "--threads", "7", "test", "config.py")
    assert [threads for _, _, threads in launched] == ["5", "7"]


def test_processes_that_start_again_go_on(launched):
    with pytest.raises(ValueError, match="give train --resume as well"):
        run("--processes", "2", "--restarts", "1", "train", "config.py")
    with pytest.raises(ValueError, match="give train --resume as well"):
        run("--nodes", "1:2", "--rendezvous", "node0", "train", "config.py")
    run("--processes", "2", "--restarts", "1", "train", "config.py", "--resume")
    run("--processes", "2", "--restarts", "1", "cross-validate", "config.py")
    assert len(launched) == 2


@pytest.mark.parametrize("command", ["train", "test"])
def test_the_scripts_are_this_command(tmp_path, command):
    """What they would start is shown here; tests/test_engine/test_distributed.py trains with one of them."""
    shows = tmp_path / "python"
    shows.write_text('#!/bin/sh\necho "$PWD" "$PYTHONPATH" > where\necho "$@"\n')
    shows.chmod(0o755)

    def words(*given, **variables):
        environment = dict(os.environ, PYTHON=str(shows), **variables)
        done = subprocess.run(
            [ROOT / "tools" / f"dist_{command}.sh", *given],
            env=environment, cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.split() if done.returncode == 0 else done.stderr

    launch = ["-m", "mmlandmark", "launch", "--processes", "2"]
    assert words("a.py", "2", "--record", "b.json") == [*launch, command, "a.py", "--record", "b.json"]
    folder, path = (tmp_path / "where").read_text().split()
    assert folder == str(tmp_path), "a config and results are relative to where the user is"
    assert path.split(":")[0] == str(ROOT)
    nodes = ["--nodes", "2", "--node-rank", "1", "--master", "first:29500"]
    assert words("a.py", "2", NNODES="2", NODE_RANK="1", MASTER_ADDR="first") == [
        *launch, *nodes, command, "a.py",
    ]  # fmt: skip
    assert "several machines need MASTER_ADDR" in words("a.py", "2", NNODES="2")
    assert "usage: tools/dist_train.sh or tools/dist_test.sh" in words("a.py")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def node(folder, port, name):
    """Start the agent of one of two machines, which may leave, on the loopback device."""
    words = ["--processes", "1", "--nodes", "1:2", "--rendezvous", f"127.0.0.1:{port}", "--restarts", "2"]
    words += ["--wait", "15", "train", str(folder / "tiny.py"), "--resume"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    environment |= dict(GLOO_SOCKET_IFNAME="lo")
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "mmlandmark", "launch", *words],
            env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


@pytest.mark.slow
def test_a_machine_that_is_lost_is_done_without(tmp_path):
    """Both agents are here, and find each other by a port; one is killed with its process in mid-training."""
    need_two_processes()
    loader = phantom_dataloader(num_samples=8)
    config = tiny_config(tmp_path / "run", max_epochs=12, train_dataloader=loader, val_cfg=None)
    config.val_dataloader = config.val_evaluator = config.launcher = None
    config.default_hooks.checkpoint.interval = 1
    config.log_level = "INFO"
    config.dump(tmp_path / "tiny.py")
    port = free_port()
    first = node(tmp_path, port, "first")
    wait_until(lambda: listens(port), first)  # whoever comes first is where they find each other
    second = node(tmp_path, port, "second")
    try:
        wait_until(lambda: list(tmp_path.glob("run/epoch_2.pth")), first)
        for child in children_of(second.pid):
            os.kill(child, signal.SIGKILL)
        second.kill()
        assert first.wait(timeout=120) == 0, (tmp_path / "first.log").read_text()[-3000:]
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    assert load_checkpoint(tmp_path / "run" / "epoch_12.pth")["meta"]["epoch"] == 12
    # Every epoch is trained once, whoever was there.
    log = (tmp_path / "first.log").read_text()
    (resumed,) = re.findall(r"resumed after epoch (\d+)/12", log)
    assert 2 <= int(resumed) < 12
