"""Trainings are killed at a few moments here, and at 50 of every method by ``mmlandmark.testing.kills``."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from mmlandmark.testing import kill_methods, kills
from mmlandmark.testing.kill_methods import METHODS, Method, training

RECORD = Path(__file__).parents[2] / "docs" / "benchmarks" / "random_kills.json"
needs_forks = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The words of a training, what it calls, and what it leaves undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    kill_methods.three_stages(folder / "unused", epochs=(1, 2, 1)).dump(folder / "stages.py")
    words = training(folder / "stages.py")
    with kill_methods.quick(), kills.watched(folder / "trained") as seen:
        left = kills.left_behind(kills.undisturbed(words, folder / "trained"))
    return words, seen, left


MOMENTS = (
    kills.Moment("labels are half written", "write", 1, "pseudo_labels/epoch_1.json"),
    kills.Moment("between a checkpoint and its note", "write", 1, "02_self_train/epoch_1.pth", whole=True),
    kills.Moment("at the change of an epoch", "epoch", 3),
)


@pytest.mark.slow
@needs_forks
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name.replace(" ", "_"))
def test_a_killed_training_ends_like_one_that_nobody_disturbed(tmp_path, whole, moment):
    words, _, expected = whole
    assert {kind: len(values) for kind, values in expected.items()} == dict(labels=3, weights=132, metrics=39)
    with kill_methods.quick():
        found = kills.left_behind(kills.disturbed(words, tmp_path / "killed", moment))
    assert kills.different(expected, found) == dict(labels=[], weights=[], metrics=[])


def test_what_differs_is_named(whole):
    _, _, expected = whole
    changed = {kind: dict(values) for kind, values in expected.items()}
    key = next(iter(changed["weights"]))
    changed["weights"][key] = torch.nextafter(changed["weights"][key], torch.tensor(9.0))
    name = "02_self_train/pseudo_labels/epoch_1.json"
    changed["labels"][name] += b" "
    del changed["metrics"]["02_self_train/mre"]
    wrong = dict(labels=[name], weights=[key], metrics=["02_self_train/mre"])
    assert kills.different(expected, changed) == wrong
    learnt = json.loads(expected["labels"][name])["images"].values()
    assert sum(sum(image["kept"]) for image in learnt) > 20, "labels that nobody learns from decide nothing"


def test_random_moments_are_of_every_kind_in_turn(whole):
    _, seen, _ = whole
    found = list(itertools.islice(kills.random_moments(seen, 3.0, seed=1), 24))
    names = {moment.name for moment in found[:12]}
    for kind in ("a checkpoint", "a file of labels", "the note of a run or plan"):
        assert {f"while {kind} is written", f"after {kind} has been written"} <= names
    assert {"at the change of an epoch", "in an epoch", "in a prediction", "at any time"} <= names
    assert names == {moment.name for moment in found[12:]}
    assert found == list(itertools.islice(kills.random_moments(seen, 3.0, seed=1), 24))
    assert found != list(itertools.islice(kills.random_moments(seen, 3.0, seed=2), 24))
    assert all(0 <= moment.seconds <= 3 for moment in found if moment.call == kills.CLOCK)
    with pytest.MonkeyPatch.context() as patch:  # the second write of a file is another moment than the first
        patch.setattr(kills, "_kind_of_file", str)
        twice = [("write", "a/run.json")] * 2
        drawn = itertools.islice(kills.random_moments(twice, 1.0, 0), 60)
        assert {(m.number, m.whole) for m in drawn if m.call == "write"} == {
            (n, whole) for n in (1, 2) for whole in (False, True)
        }


def test_a_moment_that_does_not_come_is_said(tmp_path, monkeypatch):
    never = kills.Moment("never", "predict")
    monkeypatch.setattr(kills, "run_forked", lambda words, moment, log: 0)
    with pytest.raises(RuntimeError, match=r"never: the command ended with 0 and was not killed"):
        kills.disturbed(["train"], tmp_path, never)
    monkeypatch.setattr(
        kills, "run_forked", lambda words, moment, log: 3 if moment is None else -signal.SIGKILL
    )
    with pytest.raises(RuntimeError, match=r"never: started again, the command ended with 3"):
        kills.disturbed(["train"], tmp_path, never)


@needs_forks
def test_a_moment_of_the_clock_that_comes_too_late_comes_sooner(tmp_path, monkeypatch):
    def here(words):
        folder = Path(words[0])
        folder.mkdir(exist_ok=True)
        time.sleep(0.4)
        (folder / "done").touch()

    monkeypatch.setattr(kills, "here_and_exit", here)
    late = kills.Moment("late", kills.CLOCK, seconds=1.0)
    assert kills.disturbed(["{out}"], tmp_path / "out", late) == tmp_path / "out"
    assert (tmp_path / "out" / "done").is_file()


def forgets(words):
    """Leave what differs if the process has been here before, as a training that cannot be resumed."""
    folder = Path(words[0])
    again = folder.exists()
    folder.mkdir(exist_ok=True)
    (folder / "half").touch()
    os.replace(folder / "half", folder / "begun")
    (folder / "pseudo_labels").mkdir(exist_ok=True)
    (folder / "pseudo_labels" / "epoch_1.json").write_text(str(again))


def refuses(words):
    if Path(words[0]).exists():
        print("the folder is there", flush=True)
        sys.exit(3)
    forgets(words)


@needs_forks
@pytest.mark.parametrize(("body", "fault"), [(forgets, "1 differ"), (refuses, "ended with 3: the folder is")])
def test_faults_are_counted_and_told(tmp_path, monkeypatch, capsys, body, fault):
    monkeypatch.setattr(kills, "here", body)
    monkeypatch.setattr(kills, "here_and_exit", body)
    monkeypatch.setattr(kills, "METHODS", {"own": Method(lambda folder: ["{out}"])})
    monkeypatch.setattr(kills, "random_moments", lambda *_: itertools.repeat(
        kills.Moment("while it begins", "write", 1, "begun", whole=True)
    ))  # fmt: skip
    assert kills.main([str(tmp_path / "k.json"), "--kills", "2"]) == 1
    record = json.loads((tmp_path / "k.json").read_text())
    own = record["methods"]["own"]
    assert (record["kills"], own["tried"], own["ok"]) == (2, 2, 0)
    assert own["moments"] == {"while it begins": dict(tried=2, ok=0)}
    assert all(fault in row["fault"] for row in own["faults"])
    assert "0 of 2" in capsys.readouterr().out


@needs_forks
def test_no_further_kill_is_begun_after_the_deadline(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "here", forgets)
    monkeypatch.setattr(kills, "here_and_exit", forgets)
    method = Method(lambda folder: ["{out}"])
    assert len(kills.kill(method, tmp_path / "a", 5, deadline=time.monotonic())) == 1


@pytest.mark.skipif(not RECORD.is_file(), reason="random kills are not recorded yet")
def test_the_record_is_of_all_methods_and_nothing_differed():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert list(record["methods"]) == list(METHODS)
    for row in record["methods"].values():
        assert row["tried"] == row["ok"] == record["kills"]
        assert row["faults"] == []
        assert "while a checkpoint is written" in row["moments"]
