"""Cases from predictions and from files, selected and joined."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.evaluation import LandmarkMetric, TestedCases, withhold_absent
from mmlandmark.evaluation.tested_cases import words_of
from mmlandmark.structures import LandmarkSchema, Prediction

from .calibration_cases import made_cases, prediction_of
from .test_metrics import run, sample


def write_test(path, **fields):
    """Write what a test writes of two images of two landmarks."""
    samples = [
        sample("b", [[0, 0], [np.nan, np.nan]], [[10, 0], [0, 1]]),
        sample("a", [[0, 0]] * 2, [[0, 3], [np.nan, np.nan]]),
    ]
    for one in samples:
        one.update({key: value for key, value in fields.items() if value is not None})
    run(LandmarkMetric(predictions_file=path), samples)
    return path


def test_a_file_of_a_test_is_read(tmp_path):
    spread = np.array([np.eye(2), 2 * np.eye(2)])
    path = write_test(tmp_path / "p.json", pred_spread=spread, pred_scores=[0.5, 0.25], pred_presence=[1, 0])
    cases = TestedCases.read(path)
    assert cases.sample_ids == ("a", "b")
    assert cases.unit == "mm"
    np.testing.assert_allclose(cases.errors, [[0.3, np.nan], [1.0, np.nan]], rtol=1e-6)
    np.testing.assert_allclose(cases.spread, [spread, spread])
    np.testing.assert_allclose(cases.scores, [[0.5, 0.25]] * 2)
    np.testing.assert_allclose(cases.presence, [[1, 0]] * 2)
    assert cases.has_spread


def test_a_file_without_spread_says_so(tmp_path):
    cases = TestedCases.read(write_test(tmp_path / "p.json"))
    assert not cases.has_spread
    assert np.isnan(cases.spread).all()
    assert cases.spread.shape == (2, 2, 2, 2)


@pytest.mark.parametrize("content", [{}, {"cases": [], "landmark_names": []}, {"cases": [{"a": 1}]}])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"other\.json: not a predictions file of mmlandmark test"):
        TestedCases.read(path)


def test_predictions_become_cases():
    schema = LandmarkSchema.numbered(2)
    world = np.diag([0.1, 0.2, 1.0])
    made = [
        Prediction("a", None, (9, 9), schema, np.zeros((2, 2)), np.ones(2), world_from_original=world),
        Prediction("b", None, (9, 9), schema, np.ones((2, 2)), np.ones(2), spread=np.ones((2, 2, 2))),
    ]
    cases = TestedCases.from_predictions(made, np.zeros((2, 2, 2)))
    np.testing.assert_allclose(cases.spacing, [[0.1, 0.2], [np.nan, np.nan]])
    assert cases.unit == "pixels"  # one of two is not most of them
    assert cases.errors[1].tolist() == [np.sqrt(2)] * 2
    assert np.isnan(cases.spread[0]).all()
    assert not cases.has_spread
    with pytest.raises(ValueError, match="no predictions"):
        TestedCases.from_predictions([], np.zeros((0, 2, 2)))


def test_parts_are_joined_once():
    cases = made_cases(6)
    first, second = cases.select(np.arange(6) < 2), cases.select(np.array([5, 3]))
    joined = TestedCases.joined([first, second])
    assert joined.sample_ids == ("case0000", "case0001", "case0005", "case0003")
    np.testing.assert_array_equal(joined.points, cases.points[[0, 1, 5, 3]])
    with pytest.raises(ValueError, match=r"1 images are tested twice, e\.g\. \['case0001'\]"):
        TestedCases.joined([first, cases.select(np.array([1]))])
    with pytest.raises(ValueError, match="different landmarks cannot be joined"):
        TestedCases.joined([first, made_cases(2, landmarks=3)])
    with pytest.raises(ValueError, match="no tested cases"):
        TestedCases.joined([])


def test_sizes_must_agree():
    cases = made_cases(2)
    with pytest.raises(ValueError, match=r"need spread \(2, 4, 2, 2\), got \(2, 4\)"):
        TestedCases(
            cases.sample_ids, cases.landmarks, cases.points, cases.truth, cases.spacing, cases.scores,
            cases.scores, cases.presence, cases.deviation, cases.shapes,
        )  # fmt: skip


def test_one_image_or_point_does_not_decide_for_all():
    cases = made_cases(10)
    cases.spacing[:4], cases.spread[0, 0] = np.nan, np.nan
    assert cases.unit == "mm"
    assert cases.has_spread
    assert np.isnan(cases.errors[:4]).all()
    assert np.isfinite(cases.errors[4:]).all()
    cases.spacing[4], cases.spread[:5] = np.nan, np.nan
    assert cases.unit == "pixels"
    assert not cases.has_spread
    assert np.isfinite(cases.errors).all()


def test_what_cannot_be_measured_is_left_out_and_counted():
    cases = made_cases(6)
    cases.spacing[0], cases.spread[1, 2] = np.nan, np.nan
    cases.points[2, 0], cases.points[2, 1], cases.presence[3, 3] = (999.6, 5), (999.4, 5), 0.4
    left, counts = cases.measurable("mm", with_spread=True)
    assert counts == dict(images=1, spread=1, withheld=2)
    lost = np.zeros((6, 4), dtype=bool)
    lost[0], lost[1, 2], lost[2, 0], lost[3, 3] = True, True, True, True
    np.testing.assert_array_equal(np.isnan(left.errors), lost)
    np.testing.assert_array_equal(left.scores[lost[:, 0], 0], [cases.scores[0, 0], 0])
    assert np.isfinite(left.truth[2:]).all()
    assert len(words_of(counts)) == 3
    assert words_of(cases.measurable("pixels")[1])[0].startswith("2 points lie outside")


def test_the_rule_is_that_of_predictions():
    cases = made_cases(30, seed=5)
    cases.points[::2] = np.random.default_rng(0).uniform(-50, 1050, cases.points[::2].shape)
    cases.presence[:10] = np.random.default_rng(1).uniform(0, 1, (10, 4))
    left, counts = cases.measurable(cases.unit)
    said = [withhold_absent(prediction_of(cases, i, presence=cases.presence[i])) for i in range(30)]
    np.testing.assert_array_equal(left.points, [prediction.points for prediction in said])
    np.testing.assert_array_equal(left.scores, [prediction.scores for prediction in said])
    assert counts["withheld"] > 10
