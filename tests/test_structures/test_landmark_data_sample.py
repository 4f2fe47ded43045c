"""The data sample: masks, frames and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmlandmark.structures import LandmarkDataSample, resize_matrix

NAN = float("nan")


def sample(landmarks=((1, 2), (3, 4)), **more):
    return LandmarkDataSample.from_landmarks(landmarks, **{**dict(sample_id="x", ori_shape=(10, 20)), **more})


def test_missing_landmarks_are_masked():
    made = sample([[1, 2], [NAN, NAN], [5, 6]])
    assert made.mask.tolist() == [True, False, True]
    assert made.gt_visibility.dtype == torch.int8
    assert made.gt_weights.tolist() == [1, 1, 1]
    assert made.gt_landmarks.dtype == torch.float32


def test_visibility_distinguishes_absent_from_not_annotated():
    made = sample([[1, 2], [NAN, NAN], [NAN, NAN]], visibility=[0, -1, 1])
    # What has no coordinates cannot be annotated.
    assert made.gt_visibility.tolist() == [0, -1, 0]
    assert not made.mask.any()


@pytest.mark.parametrize("dims", [2, 3])
def test_points_travel_to_the_input_and_back(dims):
    shape, new = (10, 20, 30)[:dims], (5, 40, 60)[:dims]
    points = np.random.default_rng(0).uniform(0, 10, (4, dims)).astype(np.float32)
    made = sample(points, ori_shape=shape, input_from_original=resize_matrix(shape, new), input_shape=new)
    moved = made.to_input(made.gt_landmarks)
    factor = torch.tensor([n / s for n, s in zip(new, shape, strict=True)][::-1])
    torch.testing.assert_close(moved, (made.gt_landmarks + 0.5) * factor - 0.5)
    torch.testing.assert_close(made.to_original(moved), made.gt_landmarks)


def test_frame_defaults_to_the_original():
    made = sample()
    assert made.input_shape == made.ori_shape == (10, 20)
    torch.testing.assert_close(made.to_input(made.gt_landmarks), made.gt_landmarks)
    assert made.spacing is None


def test_meta_and_dictionary():
    made = sample(spacing=[0.1, 0.2], img_path="a.png", flip_pairs=((0, 1),), weights=[1, 0.5])
    whole = made.to_dict()
    assert whole["spacing"] == (0.1, 0.2)
    assert whole["flip_pairs"] == ((0, 1),)
    assert whole["gt_weights"].tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(landmarks=[[1, 2, 3]]), r"landmarks must be \(K, 2\)"),
        (dict(landmarks=[1, 2]), r"landmarks must be \(K, 2\)"),
        (dict(ori_shape=(5, 10, 20)), r"landmarks must be \(K, 3\)"),
        (dict(landmarks=[[1, 2], [3, float("inf")]]), "landmark 1 is infinite"),
        (dict(visibility=[1]), r"visibility must be \(2,\)"),
        (dict(weights=[1, 2, 3]), r"weights must be \(2,\)"),
        (dict(spacing=[0.1]), "spacing must be 2 positive numbers"),
        (dict(spacing=[0.1, 0]), "spacing must be 2 positive numbers"),
        (dict(spacing=[0.1, NAN]), "spacing must be 2 positive numbers"),
    ],
)
def test_bad_input_names_the_sample(change, message):
    with pytest.raises(ValueError, match=f"x: {message}"):
        sample(**change)
