"""Doubtful landmarks: learnt on one half, judged on the other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.evaluation import Calibration, Doubt, flag_curve

from .calibration_cases import made_cases, prediction_of


@pytest.fixture(scope="module")
def cases():
    return made_cases(400, uneven=0.8, seed=1)


@pytest.fixture(scope="module")
def doubt(cases):
    return Doubt.fit(cases, limit=4.0)


def test_it_ranks_the_errors_of_other_images(doubt):
    other = made_cases(2000, uneven=0.8, seed=2)
    chance = doubt.probability(other)
    wrong = other.errors > 4
    looked_at, caught = flag_curve(chance.ravel(), wrong.ravel())
    half = caught[np.searchsorted(looked_at, wrong.mean())]
    assert half > 0.5  # as many are looked at as are wrong; at random it would be 9 % of them
    assert (chance >= doubt.threshold).mean() == pytest.approx(0.05, abs=0.01)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6)):
        chosen = (chance >= low) & (chance < high)
        assert wrong[chosen].mean() == pytest.approx(chance[chosen].mean(), abs=0.08)


def test_reasons_say_how_likely_and_how_far(cases, doubt):
    chance = doubt.probability(cases)
    case = int(chance.max(axis=1).argmax())
    reasons = doubt.reasons(cases.select(np.array([case])), "mm")
    k = int(chance[case].argmax())
    assert reasons[k].startswith(f"{chance[case, k]:.0%} chance of an error beyond 4 mm")
    assert set(reasons) == set(np.flatnonzero(doubt.flagged(cases)[case]))
    likely = {k for k, text in reasons.items() if "chance" in text}
    assert likely == set(np.flatnonzero(chance[case] >= doubt.threshold))


def test_flags_need_no_spacing(cases, doubt):
    """The image says how wide a map is: no landmark looks usual since its pixels have no size."""
    unknown = replace(cases, spacing=np.full_like(cases.spacing, np.nan))
    np.testing.assert_array_equal(doubt.flagged(unknown), doubt.flagged(cases))
    magnified = replace(cases, spread=cases.spread * 9, shapes=cases.shapes * 3)
    np.testing.assert_allclose(doubt.probability(magnified), doubt.probability(cases))
    assert doubt.flagged(cases).any()


def test_a_lower_score_than_any_right_one_is_flagged(cases, doubt):
    case = cases.select(np.array([int(cases.errors.max(axis=1).argmin())]))
    silent = replace(case, scores=np.where(np.arange(4) == 1, 1e-5, case.scores))
    reasons = doubt.reasons(silent, "mm")
    assert "a lower score than any right one of the calibration" in reasons[1]
    assert not doubt.flagged(case)[0, 1]
    right = cases.errors <= 4
    score = np.log(cases.scores) - doubt.score
    assert doubt.lowest == pytest.approx(score[right].min())


def test_equal_chances_are_not_flagged_all_at_once():
    same = made_cases(100, landmarks=1)
    same = replace(same, scores=np.full_like(same.scores, 0.5), spread=np.tile(np.eye(2), (100, 1, 1, 1)))
    assert Doubt.fit(same, limit=0.5).flagged(same).mean() <= 0.06


def test_what_is_not_said_counts_as_usual(cases, doubt):
    silent = replace(
        cases, spread=np.full_like(cases.spread, np.nan), scores=np.full_like(cases.scores, np.nan)
    )
    chance = doubt.probability(silent)
    assert np.isfinite(chance).all()
    assert (chance == chance[0]).all()
    learnt = Doubt.fit(silent, limit=4.0)  # from the landmarks alone
    assert (np.diff(learnt.probability(cases)[0]) > 0).all()
    missed = replace(silent, points=np.where(np.arange(4)[:, None] == 1, np.nan, silent.points))
    assert np.isnan(doubt.probability(missed)[:, 1]).all()


def test_what_the_other_landmarks_do_not_expect_is_flagged(cases):
    rng = np.random.default_rng(5)
    deviation = np.abs(rng.normal(size=cases.errors.shape)) + (cases.errors > 4)
    seen = replace(cases, deviation=deviation)
    doubt = Doubt.fit(seen, limit=4.0)
    assert doubt.farthest == deviation[cases.errors <= 4].max()
    assert doubt.farthest < deviation.max()  # a wrong one that is far off sets no standard
    assert doubt.weights[4] > 0.1  # wrong ones deviate more
    case = seen.select(np.array([3]))
    far = replace(case, deviation=np.where(np.arange(4) == 2, 99.0, 0.0)[None])
    (index,) = [k for k, text in doubt.reasons(far, "mm").items() if "others expect" in text]
    assert index == 2
    assert "99 standard deviations from where the others expect it" in doubt.reasons(far, "mm")[2]
    assert Doubt.from_dict(json.loads(json.dumps(doubt.to_dict())), 4).farthest == doubt.farthest
    # A detector without a prior of shapes is not flagged for it.
    assert not any("expect" in text for text in doubt.reasons(cases.select([3]), "mm").values())


def test_few_errors_lower_the_limit_and_too_few_teach_nothing(cases):
    lowered = Doubt.fit(cases, limit=1000.0)
    assert lowered.limit == pytest.approx(np.quantile(cases.errors, 0.95))
    assert Doubt.fit(made_cases(20), limit=1000.0) is None
    assert Doubt.fit(cases, None, flag_rate=0.1).limit == pytest.approx(np.quantile(cases.errors, 0.9))
    with pytest.raises(ValueError, match="part of landmarks to flag lies between 0 and 1, got 5"):
        Doubt.fit(cases, 4.0, flag_rate=5)
    for limit in (0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="beyond which a person should look must be above 0, got "):
            Doubt.fit(cases, limit)


def test_errors_of_nothing_teach_nothing(cases):
    points = cases.truth.copy()
    points[:12, 0] += 3.0  # a bit more than 2 % of all: the largest 5 % begin at an error of 0
    perfect = replace(cases, points=points).select(np.arange(120))
    assert (perfect.errors > 0).sum() == 12
    assert Doubt.fit(perfect, limit=1000.0) is None


def test_a_calibrated_prediction_is_flagged(cases):
    calibration = Calibration.fit(cases)
    flags = np.array([calibration.apply(prediction_of(cases, i)).flagged for i in range(len(cases))])
    assert flags.mean() == pytest.approx(0.05, abs=0.002)
    assert (cases.errors[flags] > 4).mean() > 3 * (cases.errors > 4).mean()


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-7, 1.0])
def test_any_detector_can_be_learnt_from(noise):
    """One that says the same of all, one whose errors are told without a mistake, and in between."""
    rng = np.random.default_rng(0)
    cases = made_cases(100)
    told = np.where(cases.errors > np.quantile(cases.errors, 0.9), 1.0, 0.0) + noise * rng.normal(
        size=(100, 4)
    )
    for scores in (np.exp(-told), np.exp(-noise * rng.normal(size=(100, 4)))):
        doubt = Doubt.fit(replace(cases, scores=scores), limit=4.0)
        assert np.isfinite(doubt.weights).all()
        assert np.abs(doubt.weights).max() < 50
        Doubt.from_dict(json.loads(json.dumps(doubt.to_dict(), allow_nan=False)), 4)
        other = replace(cases, scores=rng.uniform(0, 1, (100, 4)))
        assert np.isfinite(doubt.probability(other)).all()


def test_plain_values_and_back(cases, doubt):
    again = Doubt.from_dict(json.loads(json.dumps(doubt.to_dict(), allow_nan=False)), 4)
    np.testing.assert_array_equal(again.probability(cases), doubt.probability(cases))
    for change, words in (
        (dict(weights=[1.0]), "weights: 5 numbers"),
        (dict(width=[0.0, 1, 1, 1]), "width must be positive"),
        (dict(limit=None), "doubt: all must be finite numbers"),
        (dict(error=[1.0]), "error: 4 numbers"),
        (dict(threshold="x"), "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            Doubt.from_dict({**doubt.to_dict(), **change}, 4)


def test_a_curve_needs_errors():
    with pytest.raises(ValueError, match="no landmark is wrong"):
        flag_curve(np.ones(3), np.zeros(3, bool))
