"""Several processes of one command: the arguments of the agent, and what the agent reports."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from mmlandmark.engine import launching
from mmlandmark.engine.launching import agent_arguments, launch, threads_of_each, with_port
from mmlandmark.testing.forks import forked
from mmlandmark.utils import stop_requests
from mmlandmark.utils.command_line import EXIT_NOTE
from mmlandmark.utils.stop_requests import EndedBySignal, StopRequested
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


@pytest.fixture
def patient():
    """Return a process of its own session that says when it is asked to stop, and goes on."""
    child = subprocess.Popen(
        [sys.executable, "-c", PATIENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout.readline() == "ready\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def send(number):
    os.kill(os.getpid(), number)


def test_a_signal_is_handed_on_and_a_second_one_ends_the_processes(patient, monkeypatch):
    monkeypatch.setattr(stop_requests, "ONE_REQUEST", 0.0)
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGURG)]
    with launching.SignalRelay():
        send(signal.SIGUSR1)
        assert patient.stdout.readline() == "asked\n"
        assert patient.poll() is None
        send(signal.SIGTERM)
        assert patient.wait(timeout=20) == -signal.SIGKILL
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGURG)] == before


def test_a_signal_that_comes_twice_in_a_moment_is_one_request(patient, monkeypatch):
    """As ``timeout`` sends it: to its child, then to the whole group."""
    monkeypatch.setattr(stop_requests, "ONE_REQUEST", 60.0)
    with launching.SignalRelay():
        send(signal.SIGUSR1)
        assert patient.stdout.readline() == "asked\n"
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            send(number)
            time.sleep(0.1)
        with pytest.raises(subprocess.TimeoutExpired):
            patient.wait(timeout=0.5)


def wait_for_others(number):
    """Return an agent that waits for other machines, and gets a signal meanwhile."""

    def run(_):
        send(number)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.01)
        pytest.fail("it waits on")

    return run


@pytest.mark.parametrize("number", stop_requests.SIGNALS, ids=lambda number: number.name)
def test_an_agent_without_processes_ends_itself(monkeypatch, number):
    monkeypatch.setattr("torch.distributed.run.run", wait_for_others(number))
    monkeypatch.setattr(launching, "children_of", lambda _: [])
    with pytest.raises(StopRequested):
        launch(["train", "config.py"], agent_arguments(2))
    assert EXIT_NOTE not in os.environ


def test_a_second_signal_ends_an_agent_that_does_not_come_to_its_end(monkeypatch):
    """As where the first one was handed on and the agent waits for machines to start again with."""
    monkeypatch.setattr(stop_requests, "ONE_REQUEST", 0.0)
    monkeypatch.setattr("torch.distributed.run.run", wait_for_others(signal.SIGTERM))
    monkeypatch.setattr(launching, "children_of", lambda _: [])
    before = launching.SignalRelay._take

    def take_after_a_first_one(relay, number):
        relay.asked = number
        before(relay, number)

    monkeypatch.setattr(launching.SignalRelay, "_take", take_after_a_first_one)
    with pytest.raises(EndedBySignal) as end:
        launch(["train", "config.py"], agent_arguments(2))
    assert end.value.exit_code == 143


def test_processes_that_the_agent_starts_again_are_not_waited_for(monkeypatch):
    children = []

    def run(_):
        for number in range(2):
            children.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
            if number == 0:
                send(signal.SIGTERM)
            children[-1].wait()

    monkeypatch.setattr("torch.distributed.run.run", run)
    with pytest.raises(StopRequested):
        launch(["train", "config.py"], agent_arguments(2, restarts=3))
    assert children[0].returncode == -signal.SIGTERM
    assert len(children) == 2
    children[1].kill()
    children[1].wait()


def test_a_process_that_is_asked_before_it_listens_can_be_started_again(monkeypatch):
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)

    def run(_):
        send(signal.SIGTERM)
        failure = ProcessFailure(local_rank=0, pid=child.pid, exitcode=child.wait(timeout=20), error_file="")
        raise ChildFailedError("train", {0: failure})

    monkeypatch.setattr("torch.distributed.run.run", run)
    with pytest.raises(StopRequested):
        launch(["train", "config.py"], agent_arguments(2))


def wait_in_c():
    """Wait in code that no signal interrupts, as in a connection to another machine."""
    launching.SignalRelay.patience = 0.1
    launching.children_of = lambda _: []
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
    with launching._exit_note() as note, launching.SignalRelay():
        print(note.parent, flush=True)
        # Python hears of a signal between two of its own instructions, the last of which are still to come.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGURG})
        send(signal.SIGTERM)
        for _ in range(2):
            library.pthread_mutex_lock(mutex)
    os._exit(1)


def test_an_agent_that_hears_nothing_is_ended(capfd):
    process = forked(wait_in_c, daemon=True)
    process.join(30)
    process.kill()
    assert process.exitcode == 75
    said = capfd.readouterr()
    assert said.err == "stopped: the same command goes on\n"
    assert not Path(said.out.strip()).exists()
