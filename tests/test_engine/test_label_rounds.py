"""A round of pseudo labels: its file and its numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.engine.label_rounds import LabelRound, summary
from mmlandmark.shape import Regulated
from mmlandmark.utils.files import read_json

PREDICTED = np.array([[[0, 0], [10, 0], [np.nan, np.nan]], [[0, 0], [0, 4], [1, 1 / 3]]])


@pytest.fixture
def made():
    points = PREDICTED.copy()
    points[1] += 1.0
    kept = np.array([[True, False, False], [True, True, True]])
    deviation = np.array([[0.5, 7.0, np.nan], [1.0, 1.0, 1.0]])
    chosen = Regulated(points, deviation, kept, np.array([False, True]))
    return LabelRound.of(4, ["a", "b"], PREDICTED, chosen, np.array([[20, 8], [20, 8]]))


def test_a_file_gives_back_every_bit(made, tmp_path):
    path = tmp_path / "epoch_4.json"
    digest = made.write(path, "xyz")
    assert made.write(path, "xyz") == digest
    other = LabelRound.read(path, ["b", "a"], (3, 2))
    assert (other.epoch, other.ids) == (4, ("b", "a"))
    for name in ("predicted", "points", "kept", "deviation", "adjusted", "labels"):
        value = getattr(made, name)[::-1]
        np.testing.assert_array_equal(getattr(other, name), value)
        assert getattr(other, name).dtype == value.dtype
    assert np.isnan(made.labels[0, 1:]).all()


def test_a_file_of_something_else_is_refused(made, tmp_path):
    path = tmp_path / "epoch_4.json"
    made.write(path, "xyz")
    with pytest.raises(ValueError, match=r"not the pseudo labels of this run's 1 unlabelled images"):
        LabelRound.read(path, ["a"], (3, 2))
    with pytest.raises(ValueError, match=r"epoch_4\.json: these pseudo labels are damaged"):
        LabelRound.read(path, ["a", "b"], (4, 2))
    content = read_json(path)
    del content["images"]["a"]["kept"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="damaged: 'kept'"):
        LabelRound.read(path, ["a", "b"], (3, 2))


def test_numbers_of_a_round(made):
    unknown = np.full((2, 3, 2), np.nan)
    counts = dict(epoch=4, images=2, landmarks=5, adjusted=3, masked=1)
    assert summary(made, unknown, None) == counts
    truth = np.zeros((2, 3, 2))
    truth[1, 2] = np.nan
    row = summary(made, truth, np.broadcast_to(0.5 * np.eye(2), (2, 2, 2)))
    assert {key: row[key] for key in counts} == counts
    assert row["unit"] == "mm"
    assert row["error_predicted"] == pytest.approx(0.5 * (0 + 10 + 0 + 4) / 4)
    assert row["error_kept"] == pytest.approx(0.5 * (0 + 2**0.5 + 26**0.5) / 3)
    assert row["error_masked"] == pytest.approx(5.0)
    assert summary(made, truth, None)["unit"] == "px"


def test_a_label_outside_of_its_image_is_not_learnt_from():
    points = np.array([[[-0.4, 7.4], [-0.6, 3], [3, 7.6], [np.nan, np.nan]]])
    chosen = Regulated(points, np.zeros((1, 4)), np.array([[True, True, True, False]]), np.array([True]))
    made = LabelRound.of(0, ["a"], points, chosen, np.array([[20, 8]]))
    assert made.kept.tolist() == [[True, False, False, False]]
    assert np.isfinite(made.points[0, :3]).all()


def test_images_without_a_prediction_have_no_labels(made):
    whole = made.among(["b", "c", "a"])
    assert whole.ids == ("b", "c", "a")
    np.testing.assert_array_equal(whole.labels[[0, 2]], made.labels[[1, 0]])
    assert np.isnan(whole.predicted[1]).all()
    assert not whole.kept[1].any()
    assert not whole.adjusted[1]
    for name in ("predicted", "points", "kept", "deviation", "adjusted"):
        assert getattr(whole, name).dtype == getattr(made, name).dtype
