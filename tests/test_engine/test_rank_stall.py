"""What is a stall of a process, and what is slow; whole runs are in test_rank_watch.py."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from mmlandmark.engine import rank_stall
from mmlandmark.engine.rank_stall import Standstill, collectives_entered, stalled_ranks, waits_in
from two_processes import in_two


class Meter:
    """Says what work was done."""

    work: float | None = 0.0

    def look(self, left_out):
        return self.work


@pytest.fixture
def meter(monkeypatch):
    meter = Meter()
    monkeypatch.setattr(rank_stall, "WorkMeter", lambda: meter)
    return meter


def looks(standstill, begin, end):
    """Look every second; return when it stood still."""
    found = []
    for now in range(begin, end):
        standstill.look(now)
        if standstill.still:
            found.append(now)
    return found


def test_who_does_nothing_stands_still_after_the_limit(meter):
    assert looks(Standstill(10, lambda: 3), 100, 115) == [111, 112, 113, 114]


def test_the_work_of_the_last_seconds_counts(meter):
    standstill = Standstill(10, lambda: 3)
    assert looks(standstill, 100, 105) == []
    meter.work = 0.1
    assert looks(standstill, 105, 120) == [115, 116, 117, 118, 119]


def test_what_looks_now_and_then_for_work_does_none(meter):
    standstill, found = Standstill(10, lambda: 3), []
    for now in range(100, 120):
        meter.work += 0.001
        found += looks(standstill, now, now + 1)
    assert found == list(range(111, 120))


def test_another_operation_is_a_sign(meter):
    entered = [3]
    standstill = Standstill(10, lambda: entered[0])
    assert looks(standstill, 100, 109) == []
    entered[0] = 4
    assert looks(standstill, 109, 122) == [120, 121]
    assert standstill.report()["at"] == 4


def test_nobody_stands_still_who_was_suspended_or_where_nothing_is_known(meter):
    standstill = Standstill(10, lambda: 3)
    assert looks(standstill, 100, 105) == []
    assert looks(standstill, 200, 211) == []
    assert looks(Standstill(10, lambda: None), 100, 150) == []
    meter.work = None
    assert looks(Standstill(10, lambda: 3), 100, 150) == []


def reports(*at_and_still):
    return {rank: dict(at=at, still=still, where="") for rank, (at, still) in enumerate(at_and_still)}


@pytest.mark.parametrize(
    ("given", "stalled"),
    [
        (reports((5, True), (4, True)), [1]),
        (reports((5, False), (4, True)), [1]),  # who waits for a GPU may compute in a circle
        (reports((5, True), (4, False)), []),  # slow, not stalled
        (reports((4, False), (4, True)), []),  # the others may be slow
        (reports((4, True), (4, True)), [0, 1]),
        (reports((5, True), (4, True), (4, False)), []),
        (reports((5, True), (4, True), (6, True), (4, True)), [1, 3]),
        (reports((5, True), (None, True)), []),
        (reports((5, True)), []),
        ({}, []),
    ],
)
def test_who_is_stalled(given, stalled):
    assert stalled_ranks(given) == stalled


def test_where_the_main_thread_is():
    found, waiting = [], threading.Event()
    thread = threading.Thread(target=lambda: found.append(waits_in()) or waiting.set())
    timer = threading.Timer(0.3, thread.start)
    timer.start()
    waiting.wait()
    inner = found[0].rpartition(" > ")[2]
    assert len(found[0].split(" > ")) == 4
    assert "test_where_the_main_thread_is (test_rank_stall.py:" in found[0]
    assert inner.startswith("wait (threading.py:")


def entered_while_one_waits():
    """Return what a process has entered before, while the second one waits, and after a sum of both."""
    rank, seen = torch.distributed.get_rank(), [collectives_entered()]
    late, other = threading.Event(), []
    waiting = threading.Thread(target=lambda: (late.wait(0.5), other.append(collectives_entered())))
    waiting.start()
    if rank == 1:
        waiting.join()
    torch.distributed.all_reduce(torch.ones(2))
    waiting.join()
    return [*seen, *other, collectives_entered()]


def test_who_waits_has_entered_more():
    assert collectives_entered() is None
    first, second = in_two(entered_while_one_waits)
    begun = first[0]
    assert first == [begun, begun + 1, begun + 1]
    assert second == [begun, begun, begun + 1]


def test_a_report_says_where_once_a_process_stands_still(meter):
    standstill = Standstill(10, lambda: 3)
    looks(standstill, 100, 105)
    assert standstill.report() == dict(at=3, still=False, where="")
    looks(standstill, 105, 115)
    assert standstill.report()["where"].count(os.path.basename(__file__)) > 0
