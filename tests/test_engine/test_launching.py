"""Several processes of one command: the arguments of the agent, and what the agent reports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmlandmark.engine import launching
from mmlandmark.engine.launching import agent_arguments, launch, threads_of_each, with_port
from mmlandmark.utils.command_line import EXIT_NOTE
from two_processes import need_two_processes


def value(words, option):
    return words[words.index(option) + 1]


def test_one_machine_needs_no_address():
    words = agent_arguments(4)
    assert value(words, "--nproc-per-node") == "4"
    assert "--standalone" in words
    assert not {"--master-addr", "--rdzv-endpoint"} & set(words)


def test_machines_have_numbers_or_find_each_other():
    static = agent_arguments(2, "3", 2, master="node0:1234")
    assert [value(static, f"--{key}") for key in ("node-rank", "master-addr", "master-port")] == [
        "2",
        "node0",
        "1234",
    ]
    elastic = agent_arguments(2, "1:4", rendezvous="node0", job="run7", restarts=3)
    assert value(elastic, "--rdzv-endpoint") == "node0:29500"
    assert [value(elastic, f"--{key}") for key in ("nnodes", "rdzv-id", "max-restarts")] == [
        "1:4",
        "run7",
        "3",
    ]
    assert value(elastic, "--rdzv-backend") == "c10d"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(nodes="2"), "give --master or --rendezvous"),
        (dict(nodes="two"), "--nodes takes a number of machines"),
        (dict(nodes="0"), "--nodes takes a number of machines"),
        (dict(nodes="4:2"), "--nodes takes a number of machines"),
        (dict(nodes="1:2", master="a"), "a range of machines needs --rendezvous"),
        (dict(nodes="2", master="a", rendezvous="b"), "give one"),
        (dict(nodes="2", node_rank=2, master="a"), "--node-rank is from 0 to 1, got 2"),
        (dict(nodes="2", master="a:b"), "'a:b' is no HOST or HOST:PORT"),
        (dict(nodes="2", rendezvous=":1"), "':1' is no HOST or HOST:PORT"),
    ],
)
def test_what_contradicts_itself_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        agent_arguments(2, **given)


def test_the_usual_port_is_that_of_torchrun():
    assert with_port("node0") == "node0:29500"
    assert with_port("10.0.0.1:80") == "10.0.0.1:80"


def test_cores_are_shared(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert [threads_of_each(n) for n in (1, 4, 5, 32)] == [16, 4, 3, 1]


@pytest.mark.slow
def test_the_process_that_failed_is_named(capfd, monkeypatch):
    need_two_processes()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert launch(["train", "nowhere.py"], agent_arguments(2)) == 1
    errors = capfd.readouterr().err
    assert "nowhere.py" in errors
    assert "of this machine, pid" in errors
    assert "ended with exit code 1" in errors


@pytest.mark.parametrize("code", [None, 75])
def test_a_run_that_was_stopped_is_no_failure_and_has_its_code(monkeypatch, code):
    monkeypatch.delenv(EXIT_NOTE, raising=False)

    def run(_):
        if code is not None:
            Path(os.environ[EXIT_NOTE]).write_text(str(code))

    monkeypatch.setattr("torch.distributed.run.run", run)
    assert launch(["train", "config.py"], agent_arguments(2)) == (code or 0)
    assert EXIT_NOTE not in os.environ


def test_only_processes_with_a_session_of_their_own_get_a_signal():
    own = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        found = launching.children_of(os.getpid())
        assert own.pid in found
        assert other.pid not in found
    finally:
        for process in (own, other):
            process.communicate(b"\n")


PATIENT = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: print("asked", flush=True))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


def test_a_signal_is_handed_on_and_a_second_one_ends_the_processes():
    before = signal.getsignal(signal.SIGUSR1)
    child = subprocess.Popen(
        [sys.executable, "-c", PATIENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert child.stdout.readline() == "ready\n"
        with launching._forwarded_signals():
            os.kill(os.getpid(), signal.SIGUSR1)
            assert child.stdout.readline() == "asked\n"
            assert child.poll() is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert child.wait(timeout=20) == -signal.SIGKILL
        assert signal.getsignal(signal.SIGUSR1) is before
    finally:
        child.kill()
        child.stdout.close()
