"""Presence: the area under the curve, what is withheld, and the metric."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.evaluation import LandmarkMetric, PresenceMetric, auroc, withhold_absent
from mmlandmark.structures import LandmarkSchema, Prediction

from .test_metrics import run, sample

NAN = np.nan


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_area_is_the_share_of_ordered_pairs(seed):
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 6, 40) / 6, rng.random(40) < 0.3
    pairs = scores[positive][:, None] - scores[~positive]
    assert auroc(scores, positive) == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)


def test_the_area_needs_both_kinds():
    assert np.isnan(auroc(np.ones(3), np.ones(3, bool)))
    assert auroc(np.ones(4), np.array([1, 1, 0, 0], bool)) == 0.5


def prediction(points, presence=None) -> Prediction:
    count = len(points)
    return Prediction(
        "a", None, (40, 60), LandmarkSchema.numbered(count), np.array(points), np.ones(count),
        presence=presence, reasons=("seen",) + ("",) * (count - 1),
    )  # fmt: skip


def test_points_outside_of_the_image_are_withheld():
    given = prediction([[59.5, 39.5], [59.6, 5], [-0.5, -0.5], [5, -0.6], [NAN, NAN]])
    kept = withhold_absent(given)
    assert kept.found.tolist() == [True, False, True, False, False]
    assert kept.scores.tolist() == [1, 0, 1, 0, 1]
    assert kept.reasons == ("seen", "lies outside of the image", "", "lies outside of the image", "")
    assert withhold_absent(kept) is kept


def test_absent_landmarks_are_withheld():
    given = prediction([[5, 5], [6, 6], [70, 6]], presence=[0.3, 0.31, 0.01])
    kept = withhold_absent(given, threshold=0.31)
    assert kept.found.tolist() == [False, True, False]
    assert kept.reasons[0] == "seen; not in the image (presence 0.30, below 0.31)"
    assert kept.reasons[2] == "not in the image (presence 0.01, below 0.31)"
    assert withhold_absent(given, threshold=0).found.tolist() == [True, True, False]


def cases():
    """Two images (200 high, 100 wide) of four landmarks: present, absent, unknown, annotated outside."""
    gt = [[5, 5], [NAN, NAN], [NAN, NAN], [150, 5]]
    first = sample("a", gt, np.zeros((4, 2)), visibility=[1, -1, 0, 1])
    second = sample("b", np.full((4, 2), 7.0), np.zeros((4, 2)))
    return [
        {**first, "pred_presence": [0.9, 0.6, 0.0, 0.2]},
        {**second, "pred_presence": [0.8, 0.7, 0.1, 0.4]},
    ]


def test_the_metric():
    metric = PresenceMetric(per_landmark=True)
    metric.dataset_meta = dict(landmark_names=["w", "x", "y", "z"])
    values = run(metric, cases())
    # present: 0.9, 0.8, 0.7, 0.1, 0.4; absent: 0.6, 0.2
    assert values["presence_auroc"] == pytest.approx(7 / 10)
    assert (values["presence_auroc_x"], values["presence_auroc_z"]) == (1, 1)
    assert values["presence_auroc_landmarks"] == 1
    assert "presence_auroc_w" not in values
    assert (values["ghosts"], values["withheld"], values["num_absent"]) == (50, 40, 2)


def test_a_predictions_file_keeps_what_the_metric_needs(tmp_path):
    """A cross-validation measures the cases of all folds again."""
    file = tmp_path / "predictions.json"
    run(LandmarkMetric(unit="px", predictions_file=file), cases())
    kept = json.loads(file.read_text())["cases"]
    for case in kept:
        case.update(gt=np.array(case["gt"], dtype=float), pred=np.array(case["pred"], dtype=float))
    metric = PresenceMetric()
    assert metric.poolable
    assert metric.measure(kept) == run(metric, cases())


def test_a_model_without_presence_says_how_to_get_it():
    with pytest.raises(ValueError, match=r"a: the model predicts no presence: .*presence=dict\(\)"):
        PresenceMetric().process(None, [sample("a", [[0, 0]], [[0, 0]])])
