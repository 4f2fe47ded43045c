"""Cobb angles as AASCE 2019 computes them."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.releases import SpineAasce2019
from mmlandmark.evaluation.cobb import cobb_angles


def spine(tilts, x=None, step=50.0):
    """Return (1, V, 4, 2) vertebrae of 30 x 20 that tilt by degrees, clockwise in the image."""
    angles = np.radians(tilts)
    right, down = (
        np.stack([np.cos(angles), np.sin(angles)], 1),
        np.stack([-np.sin(angles), np.cos(angles)], 1),
    )
    x = np.zeros(len(angles)) if x is None else np.asarray(x, float)
    middle = np.stack([x, 30 + step * np.arange(len(angles))], 1)
    corners = [middle + a * 15 * right + b * 10 * down for b in (-1, 1) for a in (-1, 1)]
    return np.stack(corners, axis=1)[None]


C_SHAPE = np.sin(np.linspace(0, np.pi, 7)) * 30
S_SHAPE = np.sin(np.linspace(0, 2 * np.pi, 7)) * 30


def test_one_curve_has_its_others_at_the_ends():
    result = cobb_angles(spine([-5, 0, 20, 10, 0, -15, -12], C_SHAPE), np.array([900.0]))
    assert result.columns[0] == pytest.approx([35, 25, 3])
    assert result.curves[0].tolist() == [[2, 5], [0, 2], [5, 6]]
    assert result.by_place[0] == pytest.approx([25, 35, 3])


def test_an_s_in_the_upper_half_looks_above_and_below():
    tilts = [2, -8, 20, 10, -15, -10, -1]
    result = cobb_angles(spine(tilts, S_SHAPE), np.array([900.0]))
    assert result.columns[0] == pytest.approx([35, 28, 14])
    assert result.curves[0].tolist() == [[2, 4], [1, 2], [4, 6]]
    assert result.by_place[0] == pytest.approx([28, 35, 14])


def test_an_s_in_the_lower_half_looks_above_and_above_that():
    tilts = [2, -8, 20, 10, -15, -10, -1]
    bottom_of_both = (30 + 2 * 50 + 10 * np.cos(np.radians(20))) + (30 + 4 * 50 + 10 * np.cos(np.radians(15)))
    result = cobb_angles(spine(tilts, S_SHAPE), np.array([bottom_of_both - 0.01]))
    assert result.columns[0] == pytest.approx([35, 28, 10])
    assert result.curves[0].tolist() == [[2, 4], [1, 2], [0, 1]]
    assert result.by_place[0] == pytest.approx([10, 28, 35])
    above = cobb_angles(spine(tilts, S_SHAPE), np.array([bottom_of_both + 0.01]))
    assert above.columns[0] == pytest.approx([35, 28, 14])


def test_many_spines_are_measured_one_by_one():
    rng = np.random.default_rng(0)
    corners = np.concatenate([spine(rng.uniform(-30, 30, 17), rng.uniform(-9, 9, 17)) for _ in range(20)])
    heights = np.full(20, 950.0)
    together = cobb_angles(corners, heights)
    for n in range(20):
        alone = cobb_angles(corners[n : n + 1], heights[n : n + 1])
        assert np.array_equal(alone.columns[0], together.columns[n])
        assert np.array_equal(alone.by_place[0], together.by_place[n])
    assert (together.columns[:, 0] >= together.columns.max(axis=1) - 1e-9).all()


def test_nothing_is_invented():
    corners = np.concatenate([spine([0, 10, -5, 3])] * 3)
    corners[0, 2, 1] = np.nan
    corners[1, 1, 1::2] = corners[1, 1, 0::2]  # no width
    result = cobb_angles(corners, np.full(3, 900.0))
    assert np.isnan(result.columns[:2]).all()
    assert np.isnan(result.by_place[:2]).all()
    assert result.columns[2, 0] == pytest.approx(15)
    assert cobb_angles(spine([7, 7, 7, 7]), np.array([900.0])).columns[0] == pytest.approx(
        [0, 0, 0], abs=1e-6
    )


def test_wrong_shapes():
    with pytest.raises(ValueError, match="corners must be"):
        cobb_angles(np.zeros((1, 2, 4, 2)), np.ones(1))
    with pytest.raises(ValueError, match="heights must be"):
        cobb_angles(np.zeros((1, 3, 4, 2)), np.ones(2))


@pytest.mark.real_data
def test_the_published_angles_follow_from_the_published_landmarks(real_data):
    data = SpineAasce2019(data_root=str(real_data("spine_aasce2019")), lazy_init=False)
    records = [data.get_data_info(i) for i in range(len(data))]
    points = np.stack([r["landmarks"] for r in records]).astype(float)
    result = cobb_angles(
        points.reshape(len(points), 17, 4, 2), np.array([float(r["ori_shape"][0]) for r in records])
    )
    error = np.abs(result.columns - np.array([r["angles"] for r in records]))
    assert len(records) == 481
    assert (error < 0.02).all()
    assert (error < 0.01).all(axis=1).sum() == 477
    assert error.mean() < 0.003
