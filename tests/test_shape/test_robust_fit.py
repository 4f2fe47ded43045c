"""A typical shape finds its place among wrong landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.shape import fit_robustly


def case(dims, count, seed=0):
    """Return a typical shape, and the same turned, scaled and moved."""
    rng = np.random.default_rng(seed)
    typical = rng.normal(size=(count, dims)) * 10
    turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    return typical, 1.7 * typical @ turn.T + rng.normal(0, 30, dims), rng


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("count", [5, 19, 45])
def test_a_similarity_is_found_exactly(dims, count):
    typical, points, _ = case(dims, count)
    points[1] = np.nan
    fit = fit_robustly(points, typical)
    assert fit.agree.tolist() == [k != 1 for k in range(count)]
    np.testing.assert_allclose(np.delete(fit.placed, 1, 0), np.delete(points, 1, 0), atol=1e-9)
    linear = fit.matrix[:dims, :dims]
    np.testing.assert_allclose(linear @ linear.T, 1.7**2 * np.eye(dims), atol=1e-9)
    assert np.linalg.det(linear) > 0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("wrong", ["anywhere", "swapped", "in one place"])
def test_almost_half_of_the_landmarks_may_be_wrong(dims, wrong):
    for seed in range(10):
        typical, truth, rng = case(dims, 20, seed)
        points = truth + rng.normal(0, 0.2, truth.shape)
        bad = rng.permutation(20)[:9]
        points[bad] = dict(
            anywhere=points[bad] + rng.choice([-1, 1], (9, dims)) * rng.uniform(10, 60, (9, dims)),
            swapped=points[np.roll(bad, 1)],
        ).get(wrong, points[bad[0]] + 25)
        fit = fit_robustly(points, typical)
        assert np.linalg.norm(fit.placed - truth, axis=1).max() < 1.0
        good = np.setdiff1d(np.arange(20), bad)
        assert fit.agree[good].mean() > 0.8
        # A wrong place can be near to the right one.
        far = np.linalg.norm(points - truth, axis=1) > 3
        assert not fit.agree[far].any()


def test_least_squares_of_all_of_them_would_not_do():
    typical, truth, rng = case(3, 20, seed=3)
    points = truth + rng.normal(0, 0.2, truth.shape)
    points[:9] += rng.uniform(20, 60, (9, 3))
    everything = np.linalg.lstsq(np.c_[typical, np.ones(20)], points, rcond=None)[0]
    assert np.linalg.norm(np.c_[typical, np.ones(20)] @ everything - truth, axis=1).mean() > 5
    assert np.linalg.norm(fit_robustly(points, typical).placed - truth, axis=1).max() < 1.0


@pytest.mark.parametrize("dims", [2, 3])
def test_too_few_landmarks_have_no_pose(dims):
    typical, points, _ = case(dims, 8)
    points[dims:] = np.nan
    assert fit_robustly(points, typical) is None
    assert fit_robustly(np.full((8, dims), np.nan), typical) is None
    in_one_place = np.full((8, dims), 31.7)
    assert fit_robustly(in_one_place, typical) is None
    assert fit_robustly(0 * in_one_place, typical) is None


def test_the_same_call_gives_the_same_fit():
    typical, points, rng = case(3, 45)
    points += rng.normal(0, 2, points.shape)
    first, second = fit_robustly(points, typical), fit_robustly(points, typical)
    np.testing.assert_array_equal(first.matrix, second.matrix)
