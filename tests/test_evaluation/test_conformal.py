"""Quantiles, shapes and temperatures against values by hand and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmlandmark.evaluation.conformal import (
    conformal_quantile,
    fit_temperature,
    mean_radii,
    needed_for,
    nonconformity,
    outer_radii,
    shape_matrices,
)

from .calibration_cases import made_cases


@pytest.mark.parametrize(
    ("count", "level", "rank"), [(9, 0.9, 9), (10, 0.9, 10), (99, 0.9, 90), (19, 0.95, 19), (39, 0.95, 38)]
)
def test_the_quantile_is_the_rank_of_the_finite_sample(count, level, rank):
    scores = np.random.default_rng(count).permutation(np.arange(1.0, count + 1))
    assert conformal_quantile(scores, level) == rank


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_too_few_scores_have_no_quantile(level):
    enough = needed_for(level)
    assert conformal_quantile(np.ones(enough), level) == 1
    assert conformal_quantile(np.ones(enough - 1), level) == math.inf


def test_a_new_score_is_covered_as_often_as_promised_even_with_few():
    rng = np.random.default_rng(0)
    covered = [draws[-1] <= conformal_quantile(draws[:-1], 0.8) for draws in rng.standard_cauchy((20000, 10))]
    # With 9 scores the 8th of them is taken, and a tenth lies below it with probability 8/10 exactly.
    assert np.mean(covered) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("level", [0, 1, -0.5, 1.5, 90])
def test_levels_are_probabilities(level):
    with pytest.raises(ValueError, match="a level is a probability between 0 and 1"):
        conformal_quantile(np.ones(5), level)


def test_shapes_by_hand():
    spread = np.array([[[[4.0, 0.0], [0.0, 1.0]]]])
    scale = np.array([[0.5, 2.0]])  # x is 0.5 mm a pixel, y 2 mm: 1 mm^2 and 4 mm^2
    residual = np.array([[[2.0, 1.0]]])  # 1 mm and 2 mm
    wanted = {"absolute": math.sqrt(5), "scaled": math.sqrt(5 / 2.5), "elliptic": math.sqrt(1 + 1)}
    radii = {"absolute": 1, "scaled": math.sqrt(2.5), "elliptic": 2}
    balls = {"absolute": 1, "scaled": math.sqrt(2.5), "elliptic": math.sqrt(2)}
    for kind, score in wanted.items():
        shapes = shape_matrices(kind, spread, scale)
        assert nonconformity(residual, shapes).item() == pytest.approx(score, rel=1e-5)
        assert outer_radii(shapes, scale).item() == pytest.approx(radii[kind])
        assert mean_radii(shapes, scale).item() == pytest.approx(balls[kind])
    with pytest.raises(ValueError, match="kind must be one of absolute, scaled, elliptic, got 'round'"):
        shape_matrices("round", spread, scale)


def test_a_map_of_one_pixel_is_not_certain():
    """Else one error beside it would make the radius of all images infinite, and its own would be 0."""
    spread, scale = np.zeros((1, 1, 2, 2)), np.ones((1, 2))
    for kind in ("scaled", "elliptic"):
        shapes = shape_matrices(kind, spread, scale)
        assert outer_radii(shapes, scale).item() == pytest.approx(math.sqrt(1 / 12))
        assert nonconformity(np.ones((1, 1, 2)), shapes).item() == pytest.approx(math.sqrt(24), rel=1e-4)
    narrow = np.array([[[[0.0, 0.0], [0.0, 4.0]]]])
    np.testing.assert_allclose(shape_matrices("elliptic", narrow, scale)[0, 0], np.diag([1 / 12, 4]))


def test_what_is_missing_stays_missing():
    cases = made_cases(3)
    cases.points[0, 0] = np.nan
    cases.spread[1, 1] = np.nan
    scores = nonconformity(cases.residuals, shape_matrices("scaled", cases.spread, cases.scale))
    assert np.isnan(scores).sum() == 2
    assert np.isnan(scores[0, 0])
    assert np.isnan(scores[1, 1])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 6.0])
def test_the_temperature_is_found(dims, temperature):
    cases = made_cases(4000, 2, dims, temperature=temperature, uneven=0.5, stretched=2)
    found = fit_temperature(cases.residuals, cases.spread)
    np.testing.assert_allclose(found, temperature, rtol=0.05)


def test_one_point_on_the_wrong_tooth_does_not_change_the_temperature():
    cases = made_cases(150, 1)
    before = fit_temperature(cases.residuals, cases.spread)
    cases.points[7, 0] += 500
    np.testing.assert_allclose(fit_temperature(cases.residuals, cases.spread), before, rtol=0.05)
    cases.points[:] = np.nan
    assert np.isnan(fit_temperature(cases.residuals, cases.spread)).all()
