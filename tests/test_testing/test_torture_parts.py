"""Every part tries one thing here, and finds what is wrong where something is; all by ``testing.torture``."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from mmlandmark.testing import torture_parts
from mmlandmark.testing.torture_parts import PARTS, Try

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)


def tried(name, folder, seconds=0.0, seed=1):
    """Return the rows of a part whose time is over after its first try."""
    given = Try(folder, time.monotonic() + seconds, seed)
    PARTS[name][0](given)
    return given.rows


@pytest.mark.parametrize("name", ["damaged checkpoints", "full disks"])
def test_a_training_that_was_harmed_ends_like_one_that_was_not(tmp_path, name):
    (row,) = tried(name, tmp_path)
    assert row["fault"] is None, row


def test_a_training_with_a_limit_for_files_ends_like_one_without(tmp_path, monkeypatch):
    def refused(*given):
        raise OSError("not permitted")

    monkeypatch.setattr(torture_parts, "small_disk", refused)
    (row,) = tried("full disks", tmp_path)
    assert row["fault"] is None, row
    assert row["what"].endswith("KiB in a file")


def test_one_kill(tmp_path):
    (row,) = tried("kill -9: supervised", tmp_path)
    assert row["fault"] is None, row


def test_a_file_at_fault_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        torture_parts, "all_cases", lambda root, cases=torture_parts.all_cases: cases(root)[:1]
    )
    monkeypatch.setattr(torture_parts, "_BATCH", 2)
    rows = tried("changed files", tmp_path / "right")
    assert [row["fault"] for row in rows] == [None, None]
    assert ", seed 1, number 1" in rows[1]["what"]
    fault = dict(case=rows[1]["what"].split(",")[0], number=1, fault="hang", message="more than 20 s")
    monkeypatch.setattr(torture_parts, "faults", lambda plan, outcomes: [fault])
    rows = tried("changed files", tmp_path / "wrong")
    assert [row["fault"] for row in rows] == [None, "hang: more than 20 s"]


def test_a_malicious_file_that_leaves_a_trace_is_told(tmp_path, monkeypatch):
    ends = iter(["refused", "trace"])

    def attack(chosen, site, root):
        return [
            dict(command=place.command, name=place.name, kind=kind, end=next(ends), message="m")
            for place, kind in chosen[:2]
        ]

    monkeypatch.setattr(torture_parts, "attack", attack)
    first, second = tried("malicious files", tmp_path)
    assert (first["fault"], second["fault"]) == (None, "trace: m")
    assert " of " in first["what"]


@pytest.mark.parametrize(
    ("status", "text", "fault"),
    [
        (0, "all is well", None),
        (1, "error: a.pth cannot be written: No space left", None),
        (1, "error: something else", "no word of the disk: error: something else"),
        (1, "Traceback (most recent call last)\nOSError", "a traceback: "),
        (-9, "a.pth cannot be written", "it ended with -9: "),
    ],
)
def test_how_a_training_without_room_may_end(tmp_path, status, text, fault):
    (tmp_path / "log").write_text(text)
    found = torture_parts._refusal(status, tmp_path / "log")
    assert found is None if fault is None else str(found).startswith(fault)


def test_what_grows_is_told(tmp_path, monkeypatch):
    epochs = []

    def watch(folder, number):
        epochs.append(number)
        rows = [dict.fromkeys(torture_parts.ALLOWED, 5.0) for _ in range(number)]
        return [dict(row, threads=float(n), checkpoint_kib=99.0 * n) for n, row in enumerate(rows)]

    monkeypatch.setattr(torture_parts, "watch_training", watch)
    rows = tried("long run", tmp_path)
    assert epochs == [8, 30]
    assert {row["what"]: row["fault"] for row in rows} == {
        "file_descriptors in 30 epochs": None,
        "worker_file_descriptors in 30 epochs": None,
        "threads in 30 epochs": "+1000.00 in 1000 epochs",
        "processes in 30 epochs": None,
        "shared_files_mib in 30 epochs": None,
    }
    epochs.clear()
    assert len(tried("long run", tmp_path, seconds=60)) == len(torture_parts.ALLOWED)
    assert epochs == [8, 500]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_goes_on_after_one_of_its_processes_was_lost(tmp_path):
    """One that an agent has started is killed, others are stopped and killed; all are named that can be."""

    class Three(Try):
        @property
        def goes_on(self):
            return len(self.rows) < 3

    given = Three(tmp_path, 0.0, 1)
    torture_parts.lost_ranks(given)
    assert [row["fault"] for row in given.rows] == [None] * 3
    done = [row["what"].split(" of rank ")[0] for row in given.rows]
    assert done == ["SIGKILL", "SIGSTOP", "SIGKILL"]
    assert given.rows[0]["what"].endswith("of an agent")


@pytest.mark.parametrize(
    ("status", "text", "fault"),
    [
        (1, "error: rank 1 of the run, process 7 on x", None),
        (0, "error: rank 1 of the run, process 7 on x", "it ended as if nothing were lost"),
        (1, "error: rank 1 of the run, process 77 on x", "no word of rank 1 of the run, process 7 on "),
    ],
)
def test_a_process_that_is_lost_must_be_named(tmp_path, status, text, fault):
    (tmp_path / "said").write_text(text)
    found = torture_parts._named(tmp_path, status, "rank 1 of the run, process 7 on ")
    assert found is None if fault is None else found.startswith(fault)
