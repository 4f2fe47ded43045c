"""The model of shapes: a landmark is judged by the others."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.shape import ShapeModel, cross_fitted


def test_a_landmark_is_judged_by_the_others():
    # Two landmarks that move together in x, 0.9 of their variance shared; a third on its own.
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 1, 4000)
    points = rng.normal(0, 1, (4000, 3, 2))
    points[:, :2, 0] = np.sqrt(0.9) * shared[:, None] + np.sqrt(0.1) * points[:, :2, 0]
    model = ShapeModel.fit(points, np.zeros((3, 2)))
    asked = np.zeros((3, 3, 2))
    asked[0, :2, 0] = 2.0  # both went along: usual
    asked[1, :2, 0] = 2.0, -2.0  # against each other: very unusual, though each is only 2 off
    asked[2, 0] = np.nan
    asked[2, 1, 0] = 2.0
    single, whole = model.distances(asked)
    # Given the other, the mean is 0.9 times it and the standard deviation sqrt(1 - 0.81).
    spread = np.sqrt(1 - 0.81)
    np.testing.assert_allclose(single[0, :2], 0.2 / spread, rtol=0.25)
    np.testing.assert_allclose(single[1, :2], 3.8 / spread, rtol=0.25)
    assert np.isnan(single[2, 0])
    assert single[2, 1] == pytest.approx(2.0, rel=0.1)  # nothing but itself is known
    assert whole[1] > 3 * whole[0]


def test_every_shape_is_scored_by_a_model_of_others():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (50, 4, 2))
    points[7, 2] = 40.0
    single, whole, models = cross_fitted(points, np.zeros((4, 2)), np.ones(50, dtype=bool))
    assert np.nanargmax(single.max(1)) == np.argmax(whole) == 7
    assert np.argmax(single[7]) == 2
    others = ShapeModel.fit(np.delete(points, np.arange(2, 50, 5), axis=0), np.zeros((4, 2)))
    np.testing.assert_allclose(models[7].precision, others.precision)
    np.testing.assert_allclose(single[7], others.distances(points[7:8])[0][0])


def test_a_landmark_that_a_model_has_never_seen_is_left_out_of_its_scores():
    """It is annotated in one shape, by which no other one of the same fold can be scored."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (50, 5, 2))
    points[8, 2] = 40.0
    four, typical = points[:, :4], np.zeros((5, 2))
    points[np.arange(50) != 3, 4] = np.nan
    single, whole, models = cross_fitted(points, typical, np.ones(50, dtype=bool))
    assert np.isnan(single[:, 4]).all()
    assert np.isfinite(single[:, :4]).all()
    assert np.argmax(whole) == 8
    # Fold 3 knows nothing of the landmark, so it is as if there was none.
    expected = cross_fitted(four, typical[:4], np.ones(50, dtype=bool))
    np.testing.assert_allclose(single[3::5, :4], expected[0][3::5], rtol=1e-6)
    np.testing.assert_allclose(whole[3::5], expected[1][3::5], rtol=1e-6)
    assert np.isnan(models[3].middle[-2:]).all()
