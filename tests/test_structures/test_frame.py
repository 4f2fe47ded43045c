"""Pixels and millimetres: the matrix between them and the canonical order of axes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmlandmark.structures import (
    apply_matrix,
    canonical_matrix,
    first_slice,
    is_frame,
    orientation_code,
    original_from_world,
    spacing_of,
    swap_lps_ras,
    world_matrix,
)


def test_world_matrix_by_hand():
    turned = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # x of the image runs along y of the world
    world = world_matrix((0.5, 2, 3), origin=(10, 20, 30), direction=turned)
    np.testing.assert_allclose(apply_matrix(world, np.array([[1.0, 1.0, 1.0]])), [[10 - 2, 20 + 0.5, 30 + 3]])
    assert spacing_of(world) == (0.5, 2.0, 3.0)
    np.testing.assert_array_equal(world, world_matrix((0.5, 2, 3), (10, 20, 30), np.ravel(turned)))


@pytest.mark.parametrize("seed", range(5))
def test_spacing_survives_any_rotation(seed):
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(0.01, 5, 3)
    world = world_matrix(spacing, rng.normal(0, 100, 3), Rotation.random(rng=seed).as_matrix())
    np.testing.assert_allclose(spacing_of(world), spacing, rtol=1e-12)


@pytest.mark.parametrize(
    ("spacing", "origin", "direction"),
    [
        ((0, 1), None, None),
        ((-1, 1), None, None),
        ((np.nan, 1), None, None),
        ((1, 1), (np.inf, 0), None),
        ((1, 1), None, [[1, 1], [1, 1]]),
        ((1, 1, 1), None, np.zeros((3, 3))),
    ],
)
def test_what_is_no_frame(spacing, origin, direction):
    with pytest.raises(ValueError, match="no frame"):
        world_matrix(spacing, origin, direction)


@pytest.mark.parametrize("seed", range(5))
def test_the_world_leads_back_to_pixels(seed):
    rng = np.random.default_rng(seed)
    world = world_matrix(rng.uniform(0.1, 3, 3), rng.normal(0, 50, 3), Rotation.random(rng=rng).as_matrix())
    voxels = rng.uniform(0, 20, (6, 3))
    back = original_from_world(world)
    np.testing.assert_allclose(apply_matrix(back, apply_matrix(world, voxels)), voxels, atol=1e-9)


def test_a_slice_in_the_patient_by_hand():
    coronal = world_matrix((0.5, 2), (10, 20, 30), [[1, 0], [0, 0], [0, -1]])  # rows run towards the feet
    assert coronal.shape == (4, 3)
    assert spacing_of(coronal) == (0.5, 2.0)
    np.testing.assert_allclose(apply_matrix(coronal, np.array([[4.0, 3.0]])), [[12, 20, 24]])
    # Points beside the slice are taken to the nearest place in it.
    back = original_from_world(coronal)
    np.testing.assert_allclose(apply_matrix(back, np.array([[12.0, 99.0, 24.0]])), [[4, 3]])
    volume = world_matrix((0.5, 2, 7), (10, 20, 30), [[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    np.testing.assert_array_equal(first_slice(volume), coronal)
    with pytest.raises(ValueError, match="no frame"):
        world_matrix((1, 1), (0, 0, 0), [[1, 2], [0, 0], [0, 0]])  # two axes in one line


def test_is_frame():
    assert is_frame(np.diag([1e-6, 1e-6, 1e-6, 1]))  # small is not flat
    assert not is_frame(np.diag([1, 1, 0, 1]))
    assert not is_frame(np.full((4, 4), np.nan))


def test_swap_is_its_own_inverse():
    world = world_matrix((1, 2, 3), (4, 5, 6))
    np.testing.assert_array_equal(swap_lps_ras(world)[:, 3], [-4, -5, 6, 1])
    np.testing.assert_array_equal(swap_lps_ras(swap_lps_ras(world)), world)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_canonical_axes_are_nearest_to_lps(order, signs):
    rng = np.random.default_rng(0)
    direction = np.zeros((3, 3))
    direction[range(3), order] = signs
    tilt = Rotation.from_euler("xyz", rng.uniform(-20, 20, 3), degrees=True).as_matrix()
    size = (4, 5, 6)
    world = world_matrix(rng.uniform(0.5, 2, 3), rng.normal(0, 50, 3), tilt @ direction)
    matrix = canonical_matrix(world, size)
    axes = (world @ np.linalg.inv(matrix))[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    assert (np.diag(axes) > 0.7).all()
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in size[::-1]])), float)
    moved = apply_matrix(matrix, corners)
    assert moved.min() == 0  # the grid is moved onto itself
    np.testing.assert_array_equal(sorted(moved.max(axis=0)), [3, 4, 5])


def test_canonical_matrix_of_lps_is_the_identity():
    np.testing.assert_array_equal(canonical_matrix(world_matrix((1, 2, 3)), (4, 5, 6)), np.eye(4))
    half = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    np.testing.assert_array_equal(canonical_matrix(world_matrix((1, 1, 1), None, half), (4, 5, 6)), np.eye(4))


@pytest.mark.parametrize(
    ("columns", "letters"),
    [(np.eye(3), "LPS"), (np.diag([-1, -1, 1]), "RAS"), (np.eye(3)[:, [1, 2, 0]] * [1, -1, -1], "PIR")],
)
def test_letters_of_stored_axes(columns, letters):
    assert orientation_code(world_matrix((1, 2, 3), direction=columns)) == letters
    tilted = Rotation.from_euler("xyz", [10, -8, 12], degrees=True).as_matrix() @ columns
    assert orientation_code(world_matrix((1, 2, 3), direction=tilted)) == letters
