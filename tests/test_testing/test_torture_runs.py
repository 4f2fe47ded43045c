"""Every part tries one thing here, and finds what is wrong where something is; all by ``testing.torture``."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from contextlib import nullcontext

import pytest

from mmlandmark.testing import torture_runs
from mmlandmark.testing.fuzz_case import Outcome
from mmlandmark.testing.kills import CLOCK, Moment
from mmlandmark.testing.torture_parts import Try
from mmlandmark.testing.torture_runs import MORE_PARTS

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)


def tried(name, folder, count=1, seed=1):
    """Return the rows of a part that ends after so many tries."""

    class Few(Try):
        @property
        def goes_on(self):
            return len(self.rows) < count

    given = Few(folder, time.monotonic(), seed)
    MORE_PARTS[name][0](given)
    return given.rows


@pytest.mark.slow
def test_runs_that_were_asked_to_stop_go_on(tmp_path, monkeypatch):
    moments = [Moment("in an epoch", "train_step", 2), Moment("at any time", CLOCK, seconds=0.05)]
    monkeypatch.setattr(torture_runs, "random_moments", lambda *_: iter(moments))
    states, run_forked = [], torture_runs.run_forked
    monkeypatch.setattr(
        torture_runs, "run_forked", lambda *a, **k: states.append(run_forked(*a, **k)) or states[-1]
    )
    first, second = tried("requests to stop", tmp_path, 2)
    assert (first["fault"], second["fault"]) == (None, None)
    assert first["what"].endswith(" in an epoch")
    assert states[:2] == [75, 0]


@pytest.mark.parametrize(
    ("status", "must", "fault"),
    [(0, False, None), (75, True, None), (0, True, "it ended with 0"), (-15, False, "it ended with -15")],
)
def test_how_a_run_that_was_asked_may_end(tmp_path, monkeypatch, status, must, fault):
    monkeypatch.setattr(torture_runs, "run_forked", lambda *_, **__: status)
    monkeypatch.setattr(torture_runs, "same", lambda *_: None)
    moment = Moment("in an epoch", "train_step")
    found = torture_runs._asked(["train"], moment, signal.SIGTERM, must, {}, tmp_path)
    assert found is None if fault is None else found.startswith(fault)


@pytest.mark.slow
def test_invalid_batches_stop_a_training_or_are_left_out(tmp_path):
    rows = tried("invalid batches", tmp_path, 6)
    assert [row["fault"] for row in rows] == [None] * 6
    assert [row["what"].split(" in step ")[0] for row in rows[::2]] == list(torture_runs.KINDS[:3])
    assert [row["what"].rsplit(", ")[1] for row in rows[:2]] == ["stop", "skip"]


@pytest.mark.parametrize(
    ("status", "text", "kind", "rule", "good"),
    [
        (1, "error: loss is not finite; samples ['a', 'b']", "a loss of NaN", "stop", True),
        (1, "error: loss is not finite; samples ['a']", "a loss of NaN", "stop", False),
        (0, "not finite; samples ['a', 'b']. 1 steps were left out", "a loss of NaN", "skip", True),
        (0, "not finite; samples ['a', 'b']", "a loss of NaN", "skip", False),
        (0, "not finite; samples ['a', 'b']. 1 steps were left out", "a loss of NaN", "stop", False),
        (1, "not finite; samples ['a', 'b']", "a loss of NaN", "skip", False),
        (1, "not finite; samples ['a', 'b']", "NaN in an image", "skip", True),
        (1, "Traceback: not finite; samples ['a', 'b']", "a loss of NaN", "stop", False),
    ],
)
def test_how_a_training_with_an_invalid_batch_may_end(tmp_path, status, text, kind, rule, good):
    (tmp_path / "log").write_text(text)
    ids = ["'a'", "'b'"]
    assert (torture_runs._told(status, tmp_path / "log", ids, kind, rule) is None) == good


def test_claims_are_refused_and_what_is_read_is_told(tmp_path, monkeypatch):
    pytest.importorskip("SimpleITK")
    pytest.importorskip("nibabel")
    pytest.importorskip("pydicom")
    monkeypatch.setattr(torture_runs, "_BATCH", 20)
    (tmp_path / "right").mkdir()
    rows = tried("claimed sizes", tmp_path / "right")
    assert [row for row in rows if row["fault"] is not None] == []
    assert len(rows) == 20
    ends = iter([Outcome("read"), Outcome("memory", "MemoryError"), Outcome("refused", "a is not valid")])
    monkeypatch.setattr(
        torture_runs, "run", lambda plan, count, limits: {job: next(ends) for job in plan.jobs(3)}
    )
    (tmp_path / "wrong").mkdir()
    rows = tried("claimed sizes", tmp_path / "wrong")
    assert [row["fault"] for row in rows] == ["read: ", "memory: MemoryError", "refused: a is not valid"]


@pytest.mark.slow
def test_runs_over_shards_are_killed_and_shards_are_damaged(tmp_path):
    rows = tried("shards", tmp_path, 4)
    assert [row["fault"] for row in rows] == [None] * 4
    names = [row["what"].split(":")[0] for row in rows]
    assert names == ["training", "prediction", "training", "prediction"]
    assert ["kill -9" in row["what"] for row in rows] == [True, True, False, False]


def test_a_damaged_shard_that_is_read_all_the_same_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torture_runs, "watched", lambda folder: nullcontext([]))
    monkeypatch.setattr(torture_runs, "random_moments", lambda *_: iter(()))
    monkeypatch.setattr(torture_runs, "undisturbed", lambda words, folder: folder)
    (tmp_path / "site" / "shards").mkdir(parents=True)
    shard = tmp_path / "site" / "shards" / "shard-000000.tar"
    shard.write_bytes(bytes(100))

    class Job(torture_runs._ShardPrediction):
        def prepare(self, site):
            return ["predict", "{out}"]

        def made(self, folder):
            return {"a": b"right"} if folder.name.startswith("whole") else {"a": b"wrong"}

    name = shard.name
    ends = iter([(0, ""), (1, "error: something"), (1, f"Traceback: {name}"), (-9, f"error: {name}")])

    def run_forked(words, moment, log):
        assert shard.read_bytes() != bytes(100)
        status, text = next(ends)
        log.write_text(text)
        return status

    monkeypatch.setattr(torture_runs, "run_forked", run_forked)
    job = Job(tmp_path / "site", Try(tmp_path, 0.0, 0))
    rng = torture_runs.np.random.default_rng(0)
    faults = [job.damaged(tmp_path / "run", rng)[1] for _ in range(4)]
    assert faults[0] == "1 differ: ['a']"
    assert [fault.split(":")[0] for fault in faults[1:]] == [f"it ended with {n}" for n in (1, 1, -9)]
    assert shard.read_bytes() == bytes(100)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_end_as_one_also_after_one_was_killed(tmp_path):
    rows = tried("two nodes", tmp_path, 2)
    assert [row["fault"] for row in rows] == [None, None]
    assert rows[0]["what"] == "two nodes"
    assert rows[1]["what"].startswith("kill -9 of node")


def test_shards_hold_films_with_landmarks(tmp_path):
    index = json.loads(torture_runs.write_shards(tmp_path / "shards").read_text())
    assert len(index["shards"]) == 4
    assert [shard["count"] for shard in index["shards"]] == [2] * 4
