"""The pixel convention: round trips, and agreement with what resamples images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmlandmark.structures import (
    apply_matrix,
    crop_matrix,
    flip_matrix,
    invert_matrix,
    is_inside,
    resize_matrix,
    rotation_matrix,
    scale_matrix,
    translation_matrix,
)

SIZES = {2: (240, 193), 3: (40, 60, 51)}
STEPS = {
    "resize": lambda size: resize_matrix(size, [n // 2 + 3 for n in size]),
    "crop": lambda size: crop_matrix(np.arange(1, len(size) + 1)),
    "pad": lambda size: crop_matrix([-7.0] * len(size)),
    "flip_x": lambda size: flip_matrix(size, 0),
    "flip_last": lambda size: flip_matrix(size, len(size) - 1),
    "rotate": lambda size: rotation_matrix(33.0 if len(size) == 2 else (10, -25, 70), [9.0] * len(size)),
    "scale": lambda size: scale_matrix(1.7, [4.0] * len(size)),
    "shift": lambda size: translation_matrix([2.5] * len(size)),
}


def points_in(size, count=20):
    return np.random.default_rng(1).uniform(0, 1, (count, len(size))) * np.array(size[::-1])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", STEPS)
def test_round_trip(name, dims):
    size = SIZES[dims]
    matrix, points = STEPS[name](size), points_in(size)
    moved = apply_matrix(matrix, points)
    assert np.abs(moved - points).max() > 0.4  # it does something
    np.testing.assert_allclose(apply_matrix(invert_matrix(matrix), moved), points, atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
def test_chain_of_all_steps_comes_back(dims):
    size = SIZES[dims]
    matrix, points = np.eye(dims + 1), points_in(size)
    stepwise = points
    for step in STEPS.values():
        stepwise = apply_matrix(step(size), stepwise)
        matrix = step(size) @ matrix
    np.testing.assert_allclose(apply_matrix(matrix, points), stepwise, atol=1e-9)
    np.testing.assert_allclose(apply_matrix(invert_matrix(matrix), stepwise), points, atol=1e-8)


@pytest.mark.parametrize("dims", [2, 3])
def test_resize_keeps_the_edges_of_the_image(dims):
    size = SIZES[dims]
    new = [3 * n // 5 for n in size]
    corners = np.array([[-0.5] * dims, np.array(size[::-1]) - 0.5])
    expected = np.array([[-0.5] * dims, np.array(new[::-1]) - 0.5])
    np.testing.assert_allclose(apply_matrix(resize_matrix(size, new), corners), expected, atol=1e-12)


@pytest.mark.parametrize("new", [(20, 60), (90, 30), (77, 131)])
def test_resize_agrees_with_opencv_and_torch(new):
    # Images of the coordinates themselves: a resized pixel says where it was read.
    size = (30, 40)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    source = apply_matrix(invert_matrix(resize_matrix(size, new)), np.array([[7.0, 11.0], [12.0, 9.0]]))
    by_opencv = [cv2.resize(image, new[::-1], interpolation=cv2.INTER_LINEAR) for image in (x, y)]
    by_torch = F.interpolate(
        torch.from_numpy(np.stack([x, y]))[None], size=new, mode="bilinear", align_corners=False
    )[0].numpy()
    for images in (by_opencv, by_torch):
        read = np.array([[image[row, column] for image in images] for column, row in ((7, 11), (12, 9))])
        np.testing.assert_allclose(read, source, atol=2e-3)


def test_resize_agrees_with_torch_in_3d():
    size, new = (12, 16, 20), (24, 8, 30)
    grids = np.mgrid[: size[0], : size[1], : size[2]].astype(np.float32)[::-1].copy()  # x, y, z
    resized = F.interpolate(torch.from_numpy(grids)[None], size=new, mode="trilinear", align_corners=False)[0]
    source = apply_matrix(invert_matrix(resize_matrix(size, new)), np.array([[5.0, 3.0, 7.0]]))[0]
    np.testing.assert_allclose(resized[:, 7, 3, 5].numpy(), source, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flip_agrees_with_numpy(axis):
    size = (4, 5, 6)
    volume = np.arange(np.prod(size)).reshape(size)
    flipped = np.flip(volume, 2 - axis)
    x, y, z = apply_matrix(flip_matrix(size, axis), np.array([[1.0, 2.0, 3.0]]))[0].astype(int)
    assert flipped[z, y, x] == volume[3, 2, 1]


def test_positive_angle_turns_x_towards_y():
    turned = apply_matrix(rotation_matrix(90.0, (0.0, 0.0)), np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(turned, [[0.0, 1.0]], atol=1e-12)
    turned = apply_matrix(rotation_matrix((0, 0, 90.0), (0.0, 0.0, 0.0)), np.array([[1.0, 0.0, 5.0]]))
    np.testing.assert_allclose(turned, [[0.0, 1.0, 5.0]], atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_several_rotations_and_inverses_at_once(dims):
    angles = np.random.default_rng(0).uniform(-180, 180, (4, 1 if dims == 2 else 3))
    center = (3.0, 5.0, 2.0)[:dims]
    many = rotation_matrix(angles, center)
    for own, matrix in zip(angles, many, strict=True):
        assert np.array_equal(matrix, rotation_matrix(own.tolist(), center))
    np.testing.assert_allclose(invert_matrix(many) @ many, np.tile(np.eye(dims + 1), (4, 1, 1)), atol=1e-12)
    many[2, :dims, :dims] = 0
    with pytest.raises(ValueError, match="singular"):
        invert_matrix(many)


def test_nan_stays_alone_and_type_is_kept():
    points = torch.tensor([[1.0, 2.0], [float("nan"), 3.0]])
    moved = apply_matrix(scale_matrix(2.0, (0.0, 0.0)), points)
    assert moved.dtype == torch.float32
    assert torch.equal(moved[0], torch.tensor([2.0, 4.0]))
    assert torch.isnan(moved[1, 0])
    assert apply_matrix(np.eye(3), points.numpy()).dtype == np.float32


@pytest.mark.parametrize("as_torch", [False, True])
def test_one_matrix_per_batch_item(as_torch):
    matrices = np.stack([translation_matrix((1.0, 0.0)), scale_matrix(3.0, (0.0, 0.0))])
    points = np.ones((2, 4, 2), dtype=np.float32)
    moved = apply_matrix(matrices, torch.from_numpy(points) if as_torch else points)
    np.testing.assert_allclose(np.asarray(moved)[0], np.tile([2.0, 1.0], (4, 1)))
    np.testing.assert_allclose(np.asarray(moved)[1], np.full((4, 2), 3.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resize_matrix((4, 0), (2, 2)), "sides must be positive"),
        (lambda: resize_matrix((4, 4), (2, 2, 2)), "sides must be positive and match"),
        (lambda: invert_matrix(np.diag([1.0, 0.0, 1.0])), "cannot be inverted"),
        (lambda: rotation_matrix(10.0, (0.0, 0.0, 0.0)), r"3 angle\(s\) are needed in 3D"),
        (lambda: translation_matrix((1.0, 2.0, 3.0, 4.0)), "one value per axis"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_points_of_pixels_are_inside(kind):
    points = [[-0.5, 0.0], [-0.51, 0.0], [3.49, 1.49], [3.5, 0.0], [0.0, 1.5], [float("nan"), 0.0]]
    assert is_inside(kind(points), (2, 4)).tolist() == [True, False, True, False, False, False]
    assert is_inside(kind([[[4.0, 3.0, 1.0]], [[4.0, 3.0, 2.0]]]), (2, 4, 5)).tolist() == [[True], [False]]
