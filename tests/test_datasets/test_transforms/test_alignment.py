"""All cases in one pose."""

from __future__ import annotations

import numpy as np
import pytest

import mmlandmark.datasets.transforms as T
from dot_images import draw_dot, make_results
from mmlandmark.shape import TypicalShape
from mmlandmark.structures import apply_matrix, world_matrix

TYPICAL = {2: np.array([[-30, -20], [30, -10], [0, 40], [10, -10.0]])}
TYPICAL[3] = np.array([[-8, -6, -5], [8, -2, 3], [0, 9, 4], [1, -4, 6], [-1, 3, -8.0]])


def turned(dims, results, steps, seed=0):
    """Give a sample the typical shape, turned, scaled and moved, as its landmarks."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    middle = (np.asarray(results["input_shape"])[::-1] - 1) / 2
    placed = 1.2 * TYPICAL[dims] @ turn.T
    results["landmarks"] = np.linalg.solve(steps, placed.T).T + middle
    return results


@pytest.mark.parametrize("dims", [2, 3])
def test_landmarks_lie_on_the_typical_shape(dims):
    results = turned(dims, make_results(dims), np.eye(dims))
    results["typical_shape"] = TypicalShape(TYPICAL[dims], millimetres=False)
    results = T.AlignToTypicalShape(pixel=0.8, margin=0.25)(results)
    into_frame, size = results["typical_shape"].frame(0.8, 0.25)
    assert results["input_shape"] == size
    found = apply_matrix(results["input_from_original"], results["landmarks"])
    np.testing.assert_allclose(found, apply_matrix(into_frame, TYPICAL[dims]), atol=1e-9)


def test_a_volume_of_thick_slices_is_turned_in_mm():
    """The anatomy keeps its form, whatever the voxels: the dot comes to where its landmark comes."""
    steps = np.diag([-0.5, -0.5, 1.5])  # LPS axes of a file
    results = make_results(3)
    results["world_from_original"] = world_matrix((0.5, 0.5, 1.5), direction=np.diag([-1, -1, 1]))
    results["spacing"] = (0.5, 0.5, 1.5)
    results = turned(3, results, steps, seed=2)
    results["img"] = draw_dot(results["input_shape"], results["landmarks"][3], 1.5)
    results["typical_shape"] = TypicalShape(TYPICAL[3], millimetres=True)
    results = T.Resample()(T.AlignToTypicalShape(pixel=0.5, margin=0.3)(results))
    into_frame, _ = results["typical_shape"].frame(0.5, 0.3)
    expected = apply_matrix(into_frame, TYPICAL[3])
    found = apply_matrix(results["input_from_original"], results["landmarks"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    brightest = np.unravel_index(results["img"].argmax(), results["img"].shape)[::-1]
    assert np.abs(np.array(brightest) - expected[3]).max() <= 1


def test_what_is_missing_is_named():
    results = make_results(2)
    with pytest.raises(KeyError, match="needs the typical shape of a data set"):
        T.AlignToTypicalShape(pixel=1.0)(results)
    results["typical_shape"] = TypicalShape(TYPICAL[2], millimetres=True)
    with pytest.raises(ValueError, match="dot: AlignToTypicalShape needs the spacing of every image"):
        T.AlignToTypicalShape(pixel=1.0)(results)
    results["typical_shape"] = TypicalShape(TYPICAL[2], millimetres=False)
    results["landmarks"] = np.full((4, 2), np.nan)
    with pytest.raises(ValueError, match="dot: AlignToTypicalShape needs more than 2 annotated landmarks"):
        T.AlignToTypicalShape(pixel=1.0)(results)
    with pytest.raises(ValueError, match="pixel must be a positive length"):
        T.AlignToTypicalShape(pixel=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_mirrored_case_comes_into_the_pose_of_all_others(dims):
    """Its pixels stay mirrored, and its landmarks lie on the typical shape as those of any case."""
    rng = np.random.default_rng(dims)
    half = rng.normal(size=(3, dims)) * 8 + 10
    symmetric = np.concatenate([half, half * [-1, *[1] * (dims - 1)]])
    symmetric -= symmetric.mean(0)
    poses = []
    for prob in (0, 1):
        results = make_results(dims)
        middle = (np.asarray(results["input_shape"])[::-1] - 1) / 2
        results["landmarks"] = symmetric @ np.linalg.qr(rng.normal(size=(dims, dims)))[0] + middle
        if np.linalg.det(symmetric[:dims]) * np.linalg.det(results["landmarks"][:dims] - middle) < 0:
            results["landmarks"] = (results["landmarks"] - middle) * [-1, *[1] * (dims - 1)] + middle
        results["flip_pairs"] = ((0, 3), (1, 4), (2, 5))
        results["typical_shape"] = TypicalShape(symmetric, millimetres=False)
        results = T.AlignToTypicalShape(pixel=0.8)(T.RandomFlip(prob=prob)(results))
        found = apply_matrix(results["input_from_original"], results["landmarks"])
        into_frame, _ = results["typical_shape"].frame(0.8, 0.3)
        np.testing.assert_allclose(found, apply_matrix(into_frame, symmetric), atol=1e-9)
        poses.append(np.linalg.det(results["input_from_original"][:dims, :dims]))
    assert poses[0] > 0 > poses[1]
