"""Patches in the pose of a typical shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmlandmark.models.detectors import PoseAlignment
from mmlandmark.models.detectors.patches import sample_patches
from mmlandmark.ops import gaussian_heatmap
from mmlandmark.structures import apply_matrix, rotation_matrix

COUNT = 8


def cases(dims, count=14):
    """Return shapes of one anatomy, turned any way and of several sizes, and the anatomy."""
    rng = np.random.default_rng(dims)
    shape = rng.normal(size=(COUNT, dims)) * 9
    points = []
    for _ in range(count):
        turn = rotation_matrix(rng.uniform(-180, 180, 3 if dims == 3 else 1), np.zeros(dims))[:dims, :dims]
        points.append(rng.uniform(0.8, 1.25) * shape @ turn.T + 40)
    return np.stack(points)


def learned(dims, points, **options):
    alignment = PoseAlignment(COUNT, dims, **{"pixel": 0.5, **options})
    alignment.learn(points, None)
    return alignment


@pytest.mark.parametrize("dims", [2, 3])
def test_every_case_looks_the_same_in_its_patches(dims):
    """In the patch of a landmark all others lie where they lie in the typical shape."""
    points, size = cases(dims), (20, 24, 22)[:dims]
    alignment = learned(dims, points)
    frames, seen = alignment.patch_frames(points, np.tile(np.eye(dims), (len(points), 1, 1)), size)
    assert seen.all()
    typical = alignment.typical.numpy()
    middle = (np.asarray(size)[::-1] - 1) / 2
    for case in range(len(points)):
        for k in range(COUNT):
            found = apply_matrix(np.linalg.inv(frames[case, k]), points[case])
            np.testing.assert_allclose(found, (typical - typical[k]) / 0.5 + middle, atol=2e-4)


def test_a_wrong_landmark_is_looked_for_where_the_others_expect_it():
    points = cases(3)
    alignment = learned(3, points)
    one = points[:1].copy()
    one[0, 2] += 30
    one[0, 5] = np.nan
    frames, seen = alignment.patch_frames(one, np.eye(3)[None], (9, 9, 9))
    assert seen[0].tolist() == [k != 5 for k in range(COUNT)]
    centers = apply_matrix(frames[0, 2], np.array([[4.0, 4.0, 4.0]]))[0]
    np.testing.assert_allclose(centers, points[0, 2], atol=1e-3)


def test_a_case_of_too_few_landmarks_has_no_patches():
    points = cases(2)
    alignment = learned(2, points)
    some = points[:2].copy()
    some[0, 2:] = np.nan
    _, seen = alignment.patch_frames(some, np.tile(np.eye(2), (2, 1, 1)), (8, 8))
    assert not seen[0].any()
    assert seen[1].all()


def test_thick_slices_make_no_difference():
    """A patch has the same place and form in mm, whatever the voxels of the image are."""
    points = cases(3)
    alignment = learned(3, points)
    steps = np.diag([0.7, -0.7, 2.0])
    frames, _ = alignment.patch_frames(points[:1], np.eye(3)[None], (9, 9, 9))
    stored = np.linalg.solve(steps, points[0].T).T
    thick, _ = alignment.patch_frames(stored[None], steps[None], (9, 9, 9))
    corner = np.array([[0.0, 0.0, 0.0], [8.0, 3.0, 5.0]])
    for k in range(COUNT):
        expected = apply_matrix(frames[0, k], corner)
        np.testing.assert_allclose(apply_matrix(thick[0, k], corner) @ steps.T, expected, atol=1e-6)


def test_what_was_learned_travels_with_the_weights_and_is_missed():
    points = cases(2)
    alignment = learned(2, points)
    other = PoseAlignment(COUNT, 2, pixel=0.5)
    with pytest.raises(ValueError, match="has learnt no typical shape: train it with ShapePriorHook"):
        other.patch_frames(points, np.tile(np.eye(2), (len(points), 1, 1)), (8, 8))
    other.load_state_dict(alignment.state_dict())
    steps = np.tile(np.eye(2), (len(points), 1, 1))
    for one, two in zip(
        alignment.patch_frames(points, steps, (8, 8)), other.patch_frames(points, steps, (8, 8)), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="pixel of align must be a positive length"):
        PoseAlignment(COUNT, 2, pixel=-1)


@pytest.mark.parametrize("dims", [2, 3])
def test_turned_patches_show_what_lies_there(dims):
    """A spot lies in the patch where its matrix says; what is outside of the image has the value of black."""
    point = torch.tensor([[[20.3, 12.6, 15.1][:dims]]])
    size = (30, 28, 40)[:dims]
    image = gaussian_heatmap(point, size, 2.5)
    angles = [20, -35, 70] if dims == 3 else [33]
    center = point[0, 0].double().numpy()
    frame = rotation_matrix(angles, center) @ np.eye(dims + 1)
    frame[:dims, :dims] *= 0.8
    patch = (24, 22, 26)[:dims]
    middle = (np.asarray(patch)[::-1] - 1) / 2
    frame[:dims, dims] = center - frame[:dims, :dims] @ middle
    (found,) = sample_patches(image, [0], frame[None], patch, [0.0])
    axes = torch.meshgrid(*[torch.arange(n).double() for n in patch], indexing="ij")[::-1]
    weights = found[0].double() / found[0].sum()
    centroid = torch.stack([(axis * weights).sum() for axis in axes])
    np.testing.assert_allclose(centroid, middle, atol=0.02)
    frame[:dims, dims] -= 100
    (outside,) = sample_patches(image, [0], frame[None], patch, [7.0])
    assert (outside == 7).all()
    stored = (image * 200).to(torch.uint8)
    assert sample_patches(stored, [0], frame[None], patch, [3]).dtype == torch.uint8
