"""A training is killed at two moments here, and at ten by ``python -m mmlandmark.testing.kills``."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path

import pytest
import torch

from mmlandmark.testing import kills

RECORD = Path(__file__).parents[2] / "docs" / "benchmarks" / "kills.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The config, and what an undisturbed training leaves."""
    folder = tmp_path_factory.mktemp("whole")
    kills.three_stages(folder / "unused", epochs=(1, 2, 1)).dump(folder / "stages.py")
    return folder / "stages.py", kills.left_behind(
        kills.undisturbed(folder / "stages.py", folder / "trained")
    )


MOMENTS = (
    kills.Moment("labels are half written", "write", 1, "pseudo_labels/epoch_1.json"),
    kills.Moment("between a checkpoint and its note", "write", 1, "02_self_train/epoch_1.pth", whole=True),
)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name.replace(" ", "_"))
def test_a_killed_training_ends_like_one_that_nobody_disturbed(tmp_path, whole, moment):
    config, expected = whole
    assert {kind: len(values) for kind, values in expected.items()} == dict(labels=3, weights=132, metrics=39)
    found = kills.left_behind(kills.disturbed(config, tmp_path / "killed", moment))
    assert kills.different(expected, found) == dict(labels=[], weights=[], metrics=[])


def test_what_differs_is_named(whole):
    _, expected = whole
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


def test_a_moment_that_does_not_come_is_said(tmp_path, monkeypatch):
    never = kills.Moment("never", "predict")
    monkeypatch.setattr(kills, "forked", lambda words, moment: 0)
    with pytest.raises(RuntimeError, match=r"never: the training ended with 0 and was not killed"):
        kills.disturbed(tmp_path / "c.py", tmp_path, never)
    monkeypatch.setattr(kills, "forked", lambda words, moment: 3 if moment is None else -signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"never: started again, the training ended with 3"):
        kills.disturbed(tmp_path / "c.py", tmp_path, never)


def test_the_record_is_of_all_moments_and_nothing_differed():
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["moments"]
    assert [row["moment"] for row in rows] == [moment.name for moment in kills.MOMENTS]
    for row in rows:
        assert min(row["compared"].values()) > 0
        assert row["different"] == dict(labels=0, weights=0, metrics=0)
