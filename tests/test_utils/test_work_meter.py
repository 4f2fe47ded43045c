"""Work of this process, of its threads and of what it has started."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from mmlandmark.utils import work_meter
from mmlandmark.utils.work_meter import WorkMeter, sign_of_work

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs the processes of Linux")
BUSY = "import time; end = time.monotonic() + 0.4\nwhile time.monotonic() < end: pass"


def begun(left_out=()):
    """Return a meter that has looked once."""
    meter = WorkMeter()
    assert meter.look(left_out) == 0
    return meter


def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_who_waits_does_no_work():
    done = []

    def measure():  # all of this process but this thread, which reads what the system says
        own = {threading.get_native_id()}
        meter = begun(own)
        time.sleep(0.5)
        done.append(meter.look(own))

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    assert done[0] < 0.03


def test_computing_counts_but_for_threads_that_are_left_out():
    meter = begun()
    compute(0.2)
    assert 0.1 < meter.look() < 2
    own = {threading.get_native_id()}
    meter = begun(own)
    compute(0.2)
    assert meter.look(own) < 0.1


def test_what_was_started_counts_also_when_it_began_and_ended_in_between():
    meter = begun()
    process = subprocess.Popen([sys.executable, "-c", BUSY + "\nprint(1, flush=True)\ninput()"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    process.stdout.readline()
    own = {threading.get_native_id()}
    work = meter.look(own)
    process.communicate(b"\n")
    assert work > 0.2
    assert meter.look(own) - work < 0.1, "an end is no work"


def test_reading_and_writing_count(tmp_path):
    path = tmp_path / "file"
    own = set()
    meter = begun(own)
    path.write_bytes(bytes(3 * 10**6))
    assert meter.look(own) > 2.5
    before = meter.look(own)
    path.read_bytes()
    assert meter.look(own) - before > 2.5


def test_a_sign_counts_also_from_a_process_that_was_started():
    meter = begun()
    sign_of_work()
    assert meter.look() > 0.9
    code = (
        "from mmlandmark.utils.work_meter import sign_of_work\nsign_of_work()\nprint(1, flush=True)\ninput()"
    )
    meter = begun()
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    assert meter.look() > 0.9
    process.communicate(b"\n")


def test_where_the_system_says_nothing(monkeypatch):
    def missing(_):
        raise FileNotFoundError

    monkeypatch.setattr(work_meter.os, "listdir", missing)
    assert WorkMeter().look() is None
