"""``mmlandmark launch``: one run in two processes, by the command and by the scripts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter

import pytest

from mmlandmark.cli import launch
from mmlandmark.engine import launching
from mmlandmark.engine.launching import children_of
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.testing.two_ranks import environment
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


def node(folder, port, name, wait=60, **variables):
    """Start the agent of one of two machines, which may leave, on the loopback device.

    Agents wait for each other's start, which takes time on a busy machine.
    """
    words = ["--processes", "1", "--nodes", "1:2", "--rendezvous", f"127.0.0.1:{port}", "--restarts", "2"]
    words += ["--wait", str(wait), "train", str(folder / "tiny.py"), "--resume"]
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "mmlandmark", "launch", *words],
            env=dict(environment(ROOT / "tests"), **variables),
            cwd=folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def steps(folder, processes):
    """Return how many steps of which epoch a process made in a run of so many processes."""
    return [Counter(path.read_text().split()) for path in folder.glob(f"steps_of_{processes}_*")]


def elastic_run(folder, max_epochs, pause=-1):
    """Write the config of a run that notes its steps; return a port where its machines find each other."""
    need_two_processes()
    loader = phantom_dataloader(num_samples=8)
    config = tiny_config(folder / "run", max_epochs=max_epochs, train_dataloader=loader, val_cfg=None)
    config.val_dataloader = config.val_evaluator = config.launcher = None
    config.custom_hooks = [dict(type="slow_rank.StepLog", folder=str(folder), pause=pause)]
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=3)
    config.log_level = "INFO"
    config.dump(folder / "tiny.py")
    return free_port()


@pytest.mark.slow
def test_a_machine_that_is_lost_is_done_without(tmp_path):
    """Both agents are here, and find each other by a port; one is killed with its process in mid-epoch."""
    port = elastic_run(tmp_path, max_epochs=6, pause=4)
    first = node(tmp_path, port, "first")
    wait_until(lambda: listens(port), first)  # whoever comes first is where they find each other
    second = node(tmp_path, port, "second", PAUSES="1")
    try:
        wait_until((tmp_path / "pauses").exists, first)
        for child in children_of(second.pid):
            os.kill(child, signal.SIGKILL)
        second.kill()
        assert first.wait(timeout=240) == 0, (tmp_path / "first.log").read_text()[-3000:]
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    assert re.findall(r"resumed after epoch (\d+)/6", (tmp_path / "first.log").read_text()) == ["3"]
    # Of the epoch that was broken off nothing is left: the weights that came out of it are those of one
    # process, which has made all of its four steps.
    assert steps(tmp_path, 2) == [{"1": 2, "2": 2, "3": 2, "4": 1}] * 2
    assert steps(tmp_path, 1) == [{"4": 4, "5": 4, "6": 4}]
    checkpoint = load_checkpoint(tmp_path / "run" / "epoch_6.pth")
    assert checkpoint["meta"]["epoch"] == 6
    adam = checkpoint["optimizer"]["state"].values()
    assert {int(state["step"]) for state in adam} == {3 * 2 + 3 * 4}, "every epoch is trained once"


@pytest.mark.slow
def test_a_machine_that_comes_later_joins(tmp_path):
    """The first one trains alone until then, and goes on with it from the last checkpoint."""
    port = elastic_run(tmp_path, max_epochs=9999)
    machines = [node(tmp_path, port, "first", wait=20)]
    try:
        wait_until(lambda: list(tmp_path.glob("run/epoch_*.pth")), machines[0])
        machines.append(node(tmp_path, port, "second", wait=20))
        wait_until(lambda: len(steps(tmp_path, 2)) == 2, machines[0])
    finally:
        for process in machines:
            for child in children_of(process.pid):
                os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()
    assert len(steps(tmp_path, 1)) == 1
    assert re.findall(r"resumed after epoch \d+/9999", (tmp_path / "first.log").read_text())
