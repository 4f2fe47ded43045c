"""Other processes of this machine; tests/test_engine/test_run_lock.py has more of when they began."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmlandmark.utils import process_table
from mmlandmark.utils.process_table import UNKNOWN, began, is_visible, state_and_time, this_process


def test_a_process_is_known_by_when_it_began():
    assert began(os.getpid()) == began(os.getpid())
    assert began(os.getpid()) is not None


@pytest.mark.parametrize("pid", [None, True, 0, -1, "1", 1.0, 10**30])
def test_what_is_no_process(pid):
    assert began(pid) is None


def test_where_the_system_says_nothing(monkeypatch):
    monkeypatch.setattr(process_table, "Path", lambda path: Path("/nowhere") / path.strip("/"))
    assert began(os.getpid()) == UNKNOWN
    assert state_and_time(os.getpid()) == ("", -1)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs the processes of Linux")
def test_state_and_time():
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        first = state_and_time(process.pid)[1]
        end = time.monotonic() + 60
        while state_and_time(process.pid)[1] <= first:
            assert time.monotonic() < end
        process.send_signal(signal.SIGSTOP)
        while state_and_time(process.pid)[0] != "T":
            assert time.monotonic() < end
    finally:
        process.kill()
        process.wait()
    assert began(process.pid) is None


def test_processes_of_this_machine_and_container_are_visible(monkeypatch):
    place = dict(machine="a", boot="b", pid_namespace="pid:[7]")
    monkeypatch.setattr(process_table, "_place", lambda: place)
    here = this_process()
    assert here["pid"] == os.getpid()
    assert is_visible(here)
    assert not is_visible(dict(here, host="elsewhere"))
    assert not is_visible({})
    assert not is_visible(dict(here, machine="other"))
    assert not is_visible(dict(here, pid_namespace="pid:[1]"))
    assert is_visible(dict(here, boot="other")), "the machine has started anew: the process has ended"
    assert not is_visible(dict(here, machine=None, boot="other")), "it may be another of that host name"
    old = {key: value for key, value in here.items() if key not in place}
    assert is_visible(old), "locks of earlier versions name none of it"
    place.update(machine=None, boot=None, pid_namespace=None)
    assert is_visible(here), "a system that does not say has no containers to tell apart"


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="needs the files of Linux")
def test_the_place_is_read_from_the_system():
    place = process_table._place()
    assert place["pid_namespace"].startswith("pid:[")
    for key, path in (("machine", "/etc/machine-id"), ("boot", "/proc/sys/kernel/random/boot_id")):
        text = Path(path).read_text().strip() if os.path.exists(path) else ""
        assert place[key] == (text or None)
