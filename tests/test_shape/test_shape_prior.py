"""The prior of shapes: what it learns, and what it chooses."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.shape import ShapePrior, mirror_image

K = 7


def shapes(dims: int, count: int = 60, seed: int = 0, mirrored: bool = False) -> np.ndarray:
    """Return shapes of any place and size, a little turned; half of them mirrored on demand."""
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(7).normal(size=(K, dims)) * 40
    points = base + rng.normal(0, 1.5, (count, K, dims))
    turn = rng.uniform(-0.5, 0.5, count)
    rotation = np.tile(np.eye(dims), (count, 1, 1))
    rotation[:, :2, :2] = np.moveaxis(
        np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]), 2, 0
    )
    points = (points @ rotation) * rng.uniform(0.5, 2, (count, 1, 1)) + rng.normal(0, 99, (count, 1, dims))
    return (
        np.where(np.arange(count)[:, None, None] % 2 == 0, mirror_image(points), points)
        if mirrored
        else points
    )


def with_candidates(points: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return three candidates per landmark, the first right and two far off, and their weights."""
    rng = np.random.default_rng(seed)
    size = np.ptp(points, axis=(1, 2))[:, None, None, None]
    others = points[:, :, None] + rng.choice([-1, 1], (*points.shape[:2], 2, points.shape[2])) * 0.4 * size
    candidates = np.concatenate([points[:, :, None], others], axis=2)
    return candidates, np.tile([0.6, 0.3, 0.1], (*points.shape[:2], 1))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_wrong_peak_gives_way_to_the_right_one(dims, mirrored):
    prior = ShapePrior.fit(shapes(dims, mirrored=mirrored))
    assert prior.mirrored == mirrored
    truth = shapes(dims, 20, seed=2, mirrored=mirrored)
    candidates, weights = with_candidates(truth)
    expected = np.zeros((20, K), dtype=int)
    for n in range(1, 20):  # the right place is the second peak of one landmark, from n = 10 on of two
        for k in {n % K, (3 * n + 1) % K} if n >= 10 else {n % K}:
            candidates[n, k, [0, 1]] = candidates[n, k, [1, 0]]
            expected[n, k] = 1
    choice = prior.choose(candidates, weights)
    np.testing.assert_array_equal(choice.picked, expected)
    assert choice.deviation[expected == 1].min() > 5 > choice.deviation[expected == 0].max()


@pytest.mark.parametrize("dims", [2, 3])
def test_usual_shapes_stay_as_they_were_detected(dims):
    prior = ShapePrior.fit(shapes(dims))
    candidates, weights = with_candidates(shapes(dims, 20, seed=2))
    weights[:, :, 0], weights[:, :, 1] = 0.01, 0.99  # whatever the maps say of the other peaks
    assert not prior.choose(candidates, weights).picked.any()


def test_a_strong_peak_stands_against_a_weak_one():
    prior = ShapePrior.fit(shapes(2))
    candidates, weights = with_candidates(shapes(2, 1, seed=2))
    candidates[0, 3, [0, 1]] = candidates[0, 3, [1, 0]]
    assert prior.choose(candidates, weights).picked[0].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert not prior.choose(candidates, weights, gate=50).picked.any()
    weights[0, 3] = 1, 1e-9, 1e-12
    assert not prior.choose(candidates, weights, strength=1e6).picked.any()


@pytest.mark.parametrize("dims", [2, 3])
def test_missing_landmarks_are_left_out(dims):
    train = shapes(dims)
    train[::3, 2] = np.nan
    prior = ShapePrior.fit(train)
    candidates, weights = with_candidates(shapes(dims, 3, seed=2))
    candidates[:, 4] = np.nan
    candidates[1, 2, [0, 1]] = candidates[1, 2, [1, 0]]
    candidates[2, 1:] = np.nan
    choice = prior.choose(candidates, weights)
    assert choice.picked.sum() == choice.picked[1, 2] == 1
    assert np.isnan(choice.deviation[:, 4]).all()
    assert np.isfinite(choice.deviation[:2, np.arange(K) != 4]).all()
    assert np.isnan(choice.deviation[2]).all()  # one landmark is no shape


@pytest.mark.parametrize("dims", [2, 3])
def test_landmarks_that_agree_are_told_from_those_that_do_not(dims):
    prior = ShapePrior.fit(shapes(dims))
    points = shapes(dims, 12, seed=2)
    expected = np.ones((12, K), dtype=bool)
    size = np.ptp(points, axis=(1, 2))
    for n in range(1, 8):
        for k in {n % K, (3 * n + 1) % K} if n >= 4 else {n % K}:
            points[n, k] += 0.4 * size[n]
            expected[n, k] = False
    points[9, 4] = np.nan
    expected[9, 4] = False
    points[10] = np.random.default_rng(0).normal(0, size[10], (K, dims))  # no landmark is right
    points[11, 1:] = np.nan
    expected[10:] = False
    np.testing.assert_array_equal(prior.consistent(points), expected)
    assert prior.consistent(points, gate=1e9)[:9].all()
    assert prior.consistent(points[:0]).shape == (0, K)


def test_deviations_are_standard_deviations():
    prior = ShapePrior.fit(shapes(2, 400))
    lengths = prior.deviations(shapes(2, 400, seed=5))
    # Of a vector of two standard normal numbers.
    assert np.median(lengths) == pytest.approx(1.177, rel=0.1)
    assert np.quantile(lengths, 0.95) == pytest.approx(2.448, rel=0.15)


@pytest.mark.parametrize(("count", "missing"), [(9, None), (30, 2)])
def test_too_few_shapes_are_refused(count, missing):
    points = shapes(2, count)
    if missing is not None:
        points[:, missing] = np.nan
    message = "at least 10 shapes of more than 2 landmarks" + (".* landmark 2 is in none" if missing else "")
    with pytest.raises(ValueError, match=message):
        ShapePrior.fit(points)
