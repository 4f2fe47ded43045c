"""Curves, warps and poses that phantoms are made of."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.phantom.scene import (
    Anatomy,
    Solid,
    Stroke,
    ellipse,
    place,
    smooth_warp,
    spline,
    turn,
)


@pytest.mark.parametrize("dims", [2, 3])
def test_smooth_warp_is_small_and_works_in_any_dimension(dims):
    warp = smooth_warp(np.random.default_rng(0), dims, amplitude=2.0, wavelength=150.0)
    points = np.random.default_rng(1).uniform(-100, 100, size=(500, dims))
    moved = warp(points) - points
    assert moved.shape == points.shape
    assert 0.3 < np.sqrt((moved**2).mean()) < 8
    near = warp(points + 0.01) - warp(points)
    assert np.abs(near - 0.01).max() < 0.01  # neighbours stay neighbours: no fold


def test_curves():
    square = np.array([(0, 0), (4, 0), (4, 4), (0, 4)], dtype=float)
    assert np.allclose(spline(square, steps=5)[::5], square)
    assert np.allclose(spline(square, closed=False)[[0, -1]], square[[0, -1]])
    assert np.allclose(turn([(1, 0)], 90, (0, 0)), [(0, 1)])
    assert np.allclose(np.linalg.norm(ellipse((3, 4), (2, 2)) - (3, 4), axis=1), 2)


def _square(side, center=(0.0, 0.0)):
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * side / 2 + center


@pytest.mark.parametrize("seed", range(8))
def test_place_keeps_landmarks_in_view_and_scales_them_with_the_parts(seed):
    body = Solid([_square(80.0)], amount=1.0)
    landmarks = _square(80.0)
    anatomy = Anatomy([body], landmarks, center=np.zeros(2), extent=np.array([60.0, 60.0]), rotation=20.0)
    scene = place(anatomy, np.random.default_rng(seed), (90, 120), margin=0.05)
    # The field of view is smaller than the anatomy: it grows until all landmarks are inside of the margin.
    assert (scene.landmarks >= 0.05 * np.array([120, 90]) - 1e-3).all()
    assert (scene.landmarks <= 0.95 * np.array([120, 90]) - 1 + 1e-3).all()
    moved = body.outlines[0] @ scene.pixel_from_mm[:2, :2].T + scene.pixel_from_mm[:2, 2]
    np.testing.assert_allclose(moved, scene.landmarks, atol=1e-3)


def test_fixed_parts_are_neither_deformed_nor_moved():
    rod = Stroke([np.array([(30.0, -20.0), (30.0, 20.0)])], width=2.0, amount=1.0, fixed=True)
    before = rod.paths[0].copy()
    anatomy = Anatomy([rod], _square(10.0), center=np.zeros(2), extent=np.array([100.0, 100.0]))
    scene = place(anatomy, np.random.default_rng(0), (64, 64))
    np.testing.assert_array_equal(rod.paths[0], before)
    ends = before @ scene.room_from_mm[:2, :2].T + scene.room_from_mm[:2, 2]
    assert ends[0, 0] == ends[1, 0]  # no tilt
