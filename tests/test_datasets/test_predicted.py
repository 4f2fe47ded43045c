"""What a model said about a sample, beside its landmarks."""

from __future__ import annotations

import json

import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.predicted import checked_predicted, chosen_predicted

PREDICTED = dict(
    scores=[0.1, 0.2, 0.3],
    reasons=["", "far off", ""],
    radii={"0.9": [1, 2, None]},
    radius_unit="mm",
    measures=[dict(name="d", value=1.0, unit="mm", std=None, label="")],
)


def read(tmp_path, predicted=PREDICTED, **kwargs):
    sample = dict(id="a", image=None, landmarks=[[1, 2], [3, 4], None], predicted=predicted)
    data = dict(schema=dict(name="three", landmarks=["a", "b", "c"]), samples=[sample])
    (tmp_path / "a.json").write_text(json.dumps(data))
    return LandmarkDataset(str(tmp_path / "a.json"), **kwargs).get_data_info(0)


def test_it_follows_the_landmarks(tmp_path):
    assert read(tmp_path)["predicted"] == PREDICTED
    other = read(tmp_path, schema=dict(name="four", landmarks=["c", "new", "b", "a"]))["predicted"]
    assert other["scores"] == [0.3, None, 0.2, 0.1]
    assert other["reasons"] == ["", "", "far off", ""]
    assert other["radii"] == {"0.9": [None, None, 2, 1]}
    assert other["measures"] == PREDICTED["measures"]
    some = read(tmp_path, landmarks=["b", "a"])["predicted"]
    assert some["scores"] == [0.2, 0.1]
    assert chosen_predicted(PREDICTED, [0, 1, 2]) == PREDICTED


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ([1], r"samples\[0\]: 'predicted' must be an object, got \[1\]"),
        (dict(score=[1, 2, 3]), r"unknown keys \['score'\] \(did you mean 'scores' for 'score'\?\)"),
        (dict(scores=[1, 2]), r"'predicted', scores: expected a list with an entry for each landmark"),
        (dict(radii=[1, 2, 3]), r"'predicted', radii: expected an object of levels"),
        (dict(radii={"0.9": [1]}), r"'predicted', radii, 0.9: expected a list with an entry for each"),
        (dict(reasons=["", 3, ""]), r"'predicted', reasons: expected texts, got \['', 3, ''\]"),
        (dict(spread=3), r"'predicted', spread: expected a list"),
    ],
)
def test_a_broken_one_is_named(tmp_path, predicted, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, predicted)


def test_without_names_any_number_is_taken():
    assert checked_predicted(dict(scores=[1]), None, "here") == dict(scores=[1])
