"""The typical shape in its own size and orientation."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.shape import TypicalShape
from mmlandmark.structures import apply_matrix, rotation_matrix


def shapes(dims, turned, count=15):
    rng = np.random.default_rng(dims)
    shape = rng.normal(size=(9, dims)) * 20
    shape -= shape.mean(0)
    points = []
    for _ in range(count):
        angles = rng.uniform(-turned, turned, 3 if dims == 3 else 1)
        turn = rotation_matrix(angles, np.zeros(dims))[:dims, :dims]
        points.append(rng.uniform(0.8, 1.25) * shape @ turn.T + rng.normal(0, 50, dims))
    points = np.stack(points)
    points[3, 2] = np.nan
    return shape, points


@pytest.mark.parametrize("dims", [2, 3])
def test_it_lies_as_most_cases_do_and_is_as_large(dims):
    shape, points = shapes(dims, turned=4)
    typical = TypicalShape.of(points, None)
    assert not typical.millimetres
    size = np.linalg.norm(typical.points) / np.linalg.norm(shape)
    assert 0.9 < size < 1.1
    assert np.abs(typical.points / size - shape).max() < 3, "turned by less than the cases are"


def test_millimetres_are_those_of_each_case():
    """The same anatomy in voxels of other sizes and directions is one shape."""
    _, points = shapes(3, turned=4)
    rng = np.random.default_rng(7)
    steps = np.stack([np.diag(rng.choice([-1, 1], 3) * rng.uniform(0.2, 3, 3)) for _ in points])
    stored = np.einsum("nij,nkj->nki", np.linalg.inv(steps), points)
    found = TypicalShape.of(stored, steps)
    assert found.millimetres
    np.testing.assert_allclose(found.points, TypicalShape.of(points, None).points, atol=0.5)


@pytest.mark.parametrize("dims", [2, 3])
def test_its_frame_shows_all_of_it(dims):
    _, points = shapes(dims, turned=180)
    typical = TypicalShape.of(points, None)
    matrix, size = typical.frame(0.5, 0.25)
    inside = apply_matrix(matrix, typical.points)
    space = 0.25 * np.ptp(typical.points, axis=0).min() / 0.5
    np.testing.assert_allclose(inside.min(0), space)
    last = np.asarray(size[::-1]) - 1
    assert (last - inside.max(0) >= space - 1e-9).all()
    assert (last - inside.max(0) < space + 1).all()


def test_a_landmark_that_is_in_no_case_is_named():
    _, points = shapes(2, turned=4)
    points[:, 5] = np.nan
    with pytest.raises(ValueError, match="of 15 cases none has landmark 5"):
        TypicalShape.of(points, None)
    with pytest.raises(ValueError, match="of 0 cases none"):
        TypicalShape.of(points[:0], None)


def test_single_mirror_images_do_not_count():
    """Whichever shape the search begins with, the typical one shows the usual side."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        shape = rng.normal(size=(9, 3)) * 20
        points = shape + rng.normal(size=(15, 9, 3)) * 1.5
        expected = TypicalShape.of(points[2:], None).points
        points[:2, :, 0] *= -1
        found = TypicalShape.of(rng.permutation(points), None).points
        assert np.abs(found - expected).max() < 3


def test_as_many_mirror_images_as_others_have_no_one_pose():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(9, 3)) * 20 + rng.normal(size=(14, 9, 3))
    points[::2, :, 0] *= -1
    with pytest.raises(ValueError, match="7 of 14 cases are mirror images of the others"):
        TypicalShape.of(points, None)


def test_landmarks_of_one_plane_have_space_above_and_below():
    rng = np.random.default_rng(0)
    flat = np.c_[rng.normal(size=(9, 2)) * 20, np.zeros(9)]
    points = np.stack([flat * scale + 30 for scale in (0.9, 1.0, 1.1)])
    typical = TypicalShape.of(points, None)
    matrix, size = typical.frame(0.5, 0.4)
    inside = apply_matrix(matrix, typical.points)
    space = 0.1 * np.ptp(typical.points, axis=0).max() / 0.5
    np.testing.assert_allclose(inside.min(0), space)
    assert (np.asarray(size[::-1]) - 1 - inside.max(0) >= space - 1e-9).all()
