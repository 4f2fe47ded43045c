"""Forks work beside libraries with threads, and may get little memory."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import threading
import time

import cv2
import numpy as np
import pytest
import torch

from mmlandmark.testing import forks
from mmlandmark.testing.forks import forked, limit_memory, without_threads

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)


def uses_both_libraries():
    cv2.setNumThreads(1)
    cv2.resize(np.zeros((500, 500), np.uint8), (900, 900), interpolation=cv2.INTER_AREA)
    torch.set_num_threads(1)
    os._exit(3 if float(torch.ones(1000, 1000).sum()) == 1e6 else 4)


def test_a_fork_does_not_wait_for_threads():
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(4)
    cv2.resize(np.zeros((2000, 2000), np.uint8), (900, 900), interpolation=cv2.INTER_AREA)
    try:
        with without_threads():
            process = forked(uses_both_libraries)
            process.join(30)
        assert process.exitcode == 3
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before[0])
    assert torch.get_num_threads() == before[1]


def needs(size):
    limit_memory(1 << 27)
    try:
        mmap.mmap(-1, size)  # new addresses: a heap might still have some to give again
    except OSError:
        os._exit(5)
    os._exit(6)


@pytest.mark.parametrize(("size", "code"), [(1 << 20, 6), (1 << 28, 5)])
def test_memory_is_limited(size, code):
    with without_threads():
        process = forked(needs, size)
        process.join(30)
    assert process.exitcode == code


class WaitsForItsThread:
    """Garbage such as the server of a process group, whose end waits for a thread that a fork has not."""

    def __init__(self):
        self.itself = self
        self.thread, self.process = threading.Thread(target=time.sleep, args=(0.1,)), os.getpid()
        self.thread.start()

    def __del__(self):
        if os.getpid() != self.process:
            time.sleep(600)
        self.thread.join()


def collects():
    gc.collect()
    WaitsForItsThread()
    gc.collect()
    os._exit(7 if gc.isenabled() else 8)


def test_a_fork_keeps_what_its_parent_has_lost():
    gc.disable()
    try:
        WaitsForItsThread()
        process = forked(collects)
        assert not gc.isenabled()
    finally:
        gc.enable()
    process.join(60)
    process.kill()
    assert process.exitcode == 7


def test_a_fork_collects_nothing_before_it_has_put_aside_what_is_not_its_own(monkeypatch):
    seen = []
    start = forks._start
    monkeypatch.setattr(forks, "_start", lambda process: seen.append(gc.isenabled()) or start(process))
    process = forked(os._exit, 0)
    process.join(60)
    assert (seen, gc.isenabled(), process.exitcode) == ([False], True, 0)


def test_a_system_without_forks_is_said(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(OSError, match="cannot fork"):
        forked(needs, 1)
