"""Alignment of shapes, and the typical one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes

from mmlandmark.shape import (
    align,
    find_typical,
    find_typical_of_some,
    in_tangent_space,
    mirror_image,
    normalised,
)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_typical_shape_is_found_among_faults_and_mirror_images(dims):
    rng = np.random.default_rng(dims)
    shape = normalised(rng.normal(size=(8, dims)))
    points = np.empty((60, 8, dims))
    for n in range(60):
        turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
        turn[:, 0] *= np.sign(np.linalg.det(turn))
        points[n] = rng.uniform(1, 3) * (shape + rng.normal(0, 0.01, shape.shape)) @ turn + rng.normal(
            0, 9, dims
        )
    points[::4] = mirror_image(points[::4])
    points[:9] = rng.permuted(points[:9], axis=1)
    typical = find_typical(points)
    gap = typical[:, None] - typical[None], shape[:, None] - shape[None]
    np.testing.assert_allclose(*(np.linalg.norm(g, axis=-1) for g in gap), atol=0.02)


@pytest.mark.parametrize("dims", [2, 3])
def test_alignment_undoes_a_similarity_but_no_mirroring(dims):
    rng = np.random.default_rng(dims)
    target = rng.normal(size=(9, dims))
    turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    moved = 3.0 * target @ turn + rng.normal(size=dims)
    moved[2] = np.nan
    back = align(moved[None], target).shapes[0]
    assert np.isnan(back[2]).all()
    np.testing.assert_allclose(np.delete(back, 2, 0), np.delete(target, 2, 0), atol=1e-9)
    mirrored = target * ([-1] + [1] * (dims - 1))
    assert np.abs(align(mirrored[None], target).shapes[0] - target).max() > 0.1


@pytest.mark.parametrize("dims", [2, 3])
def test_alignment_is_that_of_scipy(dims):
    rng = np.random.default_rng(dims)
    target = rng.normal(size=(9, dims))
    target -= target.mean(axis=0)
    target /= np.linalg.norm(target)  # as scipy does
    points = target + rng.normal(0, 0.05, (20, 9, dims))
    aligned = align(4.0 * points + 7.0, target)
    for n, shape in enumerate(points):
        _, expected, disparity = procrustes(target, shape)
        np.testing.assert_allclose(aligned.shapes[n], expected, atol=1e-12)
        assert ((aligned.shapes[n] - target) ** 2).sum() == pytest.approx(disparity)
        turn, size = orthogonal_procrustes(shape - shape.mean(axis=0), target)
        np.testing.assert_allclose(aligned.rotations[n], turn, atol=1e-12)
        spread = ((shape - shape.mean(axis=0)) ** 2).sum()
        assert aligned.scales[n] == pytest.approx(4.0 * spread / size)


@pytest.mark.parametrize("dims", [2, 3])
def test_differences_in_the_tangent_space_are_no_similarity(dims):
    rng = np.random.default_rng(dims)
    typical = normalised(rng.normal(size=(9, dims)))
    points = 3.0 * typical + rng.normal(0, 0.4, (30, 9, dims)) + 5.0
    points[::3, 2] = np.nan
    plain = align(points, typical)
    aligned = in_tangent_space(plain, typical)
    np.testing.assert_allclose(aligned.restored(aligned.shapes), points, atol=1e-12)
    np.testing.assert_allclose(plain.restored(plain.shapes), points, atol=1e-12)
    goal = np.where(np.isnan(points), np.nan, typical)
    goal -= np.nanmean(goal, axis=1, keepdims=True)
    off = np.nan_to_num(aligned.shapes - typical)
    np.testing.assert_allclose((off * np.nan_to_num(goal)).sum(axis=(1, 2)), 0, atol=1e-12)  # scaling
    np.testing.assert_allclose(off.sum(axis=1), 0, atol=1e-12)  # translation
    turned = np.nan_to_num(goal).swapaxes(1, 2) @ off
    np.testing.assert_allclose(turned, turned.swapaxes(1, 2), atol=1e-12)  # rotation
    # Half of the differences is the shape half way.
    complete = ~np.isnan(points).any(axis=(1, 2))
    half = (typical + aligned.shapes[complete]) / 2
    np.testing.assert_allclose(in_tangent_space(align(half, typical), typical).shapes, half, atol=1e-12)


def test_a_landmark_of_which_one_coordinate_is_missing_is_missing():
    points = np.random.default_rng(0).normal(size=(1, 6, 2))
    typical = points[0] - points[0].mean(axis=0)
    whole, half = points.copy(), 3 * points + 10
    whole[0, 2], half[0, 2, 1] = np.nan, np.inf
    found, expected = align(half, typical), align(3 * whole + 10, typical)
    for name in ("shapes", "centers", "scales", "rotations", "residuals"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-12, err_msg=name)
    halves = np.concatenate([half, half + 1, half - 2])
    np.testing.assert_allclose(
        find_typical_of_some(halves)[[0, 1, 3, 4, 5]], normalised(typical[[0, 1, 3, 4, 5]])
    )


def test_a_shape_without_extent_has_no_place_in_the_tangent_space():
    typical = normalised(np.random.default_rng(0).normal(size=(5, 2)))
    aligned = in_tangent_space(align(np.full((1, 5, 2), 3.0), typical), typical)
    assert np.isnan(aligned.shapes).all()
    assert np.isnan(aligned.residuals).all()


def test_a_landmark_of_one_among_very_many_shapes_has_a_typical_place():
    """Not all of so many are looked at."""
    rng = np.random.default_rng(0)
    base = rng.normal(0, 20, (5, 2))
    points = base + rng.normal(0, 0.2, (1300, 5, 2))
    points[:, 4] = np.nan
    assert find_typical(points) is None
    points[1, 4] = base[4]
    found = find_typical(points)
    aligned = align(base[None], found).shapes[0]
    np.testing.assert_allclose(aligned, found, atol=0.03)


@pytest.mark.parametrize("dims", [2, 3])
def test_landmarks_of_no_shape_do_not_keep_the_others_from_being_compared(dims):
    rng = np.random.default_rng(0)
    points = rng.normal(0, 20, (6, dims)) + rng.normal(0, 0.2, (30, 6, dims))
    complete = find_typical(points[:, [0, 1, 3, 4, 5]])
    points[:, 2] = np.nan
    found = find_typical_of_some(points)
    np.testing.assert_array_equal(found[[0, 1, 3, 4, 5]], complete)
    np.testing.assert_array_equal(found[2], np.zeros(dims))
    assert find_typical_of_some(points[:, :dims]) is None
