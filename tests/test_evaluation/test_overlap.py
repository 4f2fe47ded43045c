"""overlaps.json: tested images that were also trained on."""

from __future__ import annotations

import json

import pytest

from mmlandmark.evaluation import Overlap, read_overlaps


def test_mean_of_the_other_images():
    overlap = Overlap(images=4, positions=(1, 3), why="films of the training part")
    assert overlap.num_others == 2
    assert overlap.mean_of_others([1.0, 50.0, 2.0, 50.0]) == 1.5
    assert overlap.mean_of_others([None, 50.0, 2.0, 50.0]) == 2.0
    assert overlap.mean_of_others([None, 50.0, None, 50.0]) is None
    assert overlap.mean_of_others([]) is None


def test_the_file_is_read(tmp_path):
    path = tmp_path / "overlaps.json"
    assert read_overlaps(path) == {}
    path.write_text(json.dumps({"abc": dict(images=3, positions=[0, 2], why="w", part="Test1")}))
    assert read_overlaps(path) == {"abc": Overlap(3, (0, 2), "w")}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (dict(images=3, why="w"), r"abc lacks \['positions'\]"),
        (dict(images=3, positions=[0, 3], why="w"), r"from 0 to 2, got \[3\]"),
        (dict(images=3, positions=[1, 1], why="w"), r"different numbers from 0 to 2, got \[1, 1\]"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, entry, words):
    path = tmp_path / "overlaps.json"
    path.write_text(json.dumps({"abc": entry}))
    with pytest.raises(ValueError, match=words):
        read_overlaps(path)
