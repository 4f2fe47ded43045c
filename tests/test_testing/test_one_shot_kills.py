"""One moment here; ten by ``python -m mmlandmark.testing.one_shot_kills``."""

import json
import multiprocessing
from pathlib import Path

import pytest

from mmlandmark.testing import kills, one_shot_kills

RECORD = Path(__file__).parents[2] / "docs" / "benchmarks" / "one_shot_kills.json"


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_killed_in_a_round_of_labels_it_ends_like_one_that_nobody_disturbed(tmp_path):
    config = one_shot_kills.two_landmarks("unused", epochs=(1, 2))
    config.per_landmark = ["sella"]
    config.dump(path := tmp_path / "each.py")
    expected = kills.left_behind(kills.undisturbed(path, tmp_path / "trained"))
    assert list(expected["labels"]) == [
        f"00_sella/02_sla/pseudo_labels/{name}.json" for name in ("epoch_0", "epoch_1", "rounds")
    ]
    assert {key.split("/")[1] for key in expected["weights"]} == {"01_ssl", "02_sla"}
    moment = kills.Moment("between two batches of a round", "predict", 6)
    found = kills.left_behind(kills.disturbed(path, tmp_path / "killed", moment))
    assert kills.different(expected, found) == dict(labels=[], weights=[], metrics=[])


def test_the_record_is_of_all_moments_and_nothing_differed():
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["moments"]
    assert [row["moment"] for row in rows] == [moment.name for moment in one_shot_kills.MOMENTS]
    for row in rows:
        assert min(row["compared"].values()) > 0
        assert row["different"] == dict(labels=0, weights=0, metrics=0)
