"""Signals that are taken as requests to stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from mmlandmark.testing.forks import forked
from mmlandmark.utils import stop_requests
from mmlandmark.utils.stop_requests import (
    SIGNALS,
    EndedBySignal,
    StopRequested,
    hold,
    leave_to_parent,
    let_go,
    processes,
    requested,
    taken,
    taking_requests,
)

SENT = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@SENT
def test_a_request_is_raised_at_once(number):
    before = signal.getsignal(number)
    with taking_requests():
        assert taken()
        assert not requested()
        with pytest.raises(StopRequested) as stop:
            send(number)
        assert requested()
    assert stop.value.exit_code == 75
    assert signal.getsignal(number) is before
    assert not taken()
    assert not requested()


def test_held_it_waits(capfd):
    with taking_requests():
        hold()
        send(signal.SIGUSR1)
        send(signal.SIGTERM)  # the same request, passed on by another process
        assert requested()
        let_go()
    assert capfd.readouterr().err == "SIGUSR1: stopping after this step; a second signal ends at once\n"


@SENT
def test_a_second_one_ends_the_process(number, monkeypatch):
    monkeypatch.setattr(stop_requests, "ONE_REQUEST", -1.0)
    with taking_requests():
        hold()
        send(signal.SIGTERM)
        with pytest.raises(EndedBySignal) as end:
            send(number)
    assert end.value.exit_code == 128 + number


def test_of_several_processes_none_stops_alone(monkeypatch, capfd):
    monkeypatch.setattr(stop_requests, "processes", lambda: 2)
    for rank, said in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        with taking_requests():
            send(signal.SIGTERM)
            assert requested()
        assert capfd.readouterr().err.count("stopping after this step") == said


def test_a_command_without_torch_is_one_process(monkeypatch):
    assert processes() == 1
    monkeypatch.delitem(sys.modules, "torch.distributed", raising=False)
    assert processes() == 1


def child_of(run, *arguments) -> multiprocessing.Process:
    """Start a function in a fork of this process; it tells by an event that it is ready."""
    ready = multiprocessing.get_context("fork").Event()
    process = forked(run, ready, *arguments, daemon=True)
    assert ready.wait(60)
    return process


def wait_for_end(ready, leave: bool) -> None:
    if leave:
        leave_to_parent()
    ready.set()
    time.sleep(60)


def test_what_is_forked_ends_as_ever():
    with taking_requests():
        process = child_of(wait_for_end, False)
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
    assert process.exitcode == -signal.SIGTERM


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not say who sent a signal")
def test_a_worker_leaves_them_to_its_parent():
    with taking_requests():
        process = child_of(wait_for_end, True)
        for number in SIGNALS:
            subprocess.run(["kill", f"-{int(number)}", str(process.pid)], check=True)
        process.join(0.2)
        assert process.exitcode is None
        process.terminate()  # by its parent
        process.join(60)
    assert process.exitcode == 0


def test_in_no_worker_nothing_changes():
    before = [signal.getsignal(number) for number in SIGNALS]
    leave_to_parent()
    assert [signal.getsignal(number) for number in SIGNALS] == before
