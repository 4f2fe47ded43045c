"""The frame of a pipeline, and the checks of its steps' arguments."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.transforms.frame import (
    check_fraction,
    checked_dims,
    checked_prob,
    checked_range,
    checked_size,
    frame_size,
    happens,
    landmarks_in_frame,
    move_frame,
    per_axis,
    to_pixels,
    value_range,
)
from mmlandmark.structures import scale_matrix, translation_matrix


def test_steps_multiply_the_matrix_from_the_left():
    results = dict(input_from_original=np.eye(3), input_shape=(10, 20), landmarks=[[4.0, 6.0]])
    scale, shift = scale_matrix(2.0, (0.0, 0.0)), translation_matrix([1.0, 0.0])
    assert move_frame(move_frame(results, scale, (20.0, 40.0)), shift) is results
    np.testing.assert_array_equal(results["input_from_original"], shift @ scale)
    assert frame_size(results, "any step") == (20, 40)
    np.testing.assert_array_equal(landmarks_in_frame(results), [[9.0, 12.0]])


@pytest.mark.parametrize(
    ("pixels", "loaded", "declared", "expected"),
    [
        (np.uint8, np.uint8, (0.0, 255.0), (0.0, 255.0)),
        (np.float32, np.uint8, (0.0, 255.0), (0.0, 1.0)),  # an unknown step has made unit pixels of it
        (np.float32, np.float32, (-1.0, 3.0), (-1.0, 3.0)),
        (np.uint16, np.uint16, None, None),
    ],
)
def test_value_range(pixels, loaded, declared, expected):
    results = dict(img=np.zeros((2, 2), pixels), loaded_dtype=np.dtype(loaded), value_range=declared)
    assert value_range(results) == expected


def test_fractions_are_of_the_shorter_side():
    image = dict(input_from_original=np.eye(3), input_shape=(320, 256), spacing=(0.1, 0.4))
    np.testing.assert_array_equal(to_pixels(20 / 256, image), [20.0, 20.0])
    volume = dict(input_from_original=np.eye(4), input_shape=(64, 96, 32))
    np.testing.assert_array_equal(to_pixels(np.array([0.5, 0.25, 0.25]), volume), [16.0, 8.0, 8.0])
    # Sides of 16, 48 and 128 mm: a fraction is the same length in mm along all axes.
    volume["spacing"] = (0.5, 0.5, 2.0)
    np.testing.assert_allclose(to_pixels(0.5, volume), [16.0, 16.0, 4.0])
    check_fraction((0.0, 0.999), "x")
    for value in (20, 1.0, -0.1, (0.1, 1), float("nan")):
        with pytest.raises(ValueError, match=r"x must be a fraction of the shorter side of the frame"):
            check_fraction(value, "x")


def test_arguments():
    assert checked_range(2, "x") == (2.0, 2.0)
    assert checked_range([1, 2], "x") == (1.0, 2.0)
    assert checked_size([4, 5]) == (4, 5)
    np.testing.assert_array_equal(per_axis(2.0, 3, "x"), [2, 2, 2])
    np.testing.assert_array_equal(per_axis((1, 2), 2, "x"), [1, 2])
    rng = np.random.default_rng(0)
    assert 30 < sum(happens(dict(rng=rng), checked_prob(0.4)) for _ in range(100)) < 50


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: checked_prob(1.5), r"prob must lie in \[0, 1\], got 1.5"),
        (lambda: checked_range((2, 1), "x"), r"x must be a number or \(smallest, largest\)"),
        (lambda: checked_range((1, 2, 3), "x"), "got \\(1, 2, 3\\)"),
        (lambda: checked_range(0.0, "x", low=0.1), "at least 0.1"),
        (lambda: checked_size((0, 4)), "size must be"),
        (lambda: checked_size(4), "size must be"),
        (lambda: checked_dims((1, 2, 3), (4, 4), "step"), "do not fit an image of 2 dimensions"),
        (lambda: per_axis((1, 2, 3), 2, "x"), "x must be one number or 2"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_frame_needs_an_image():
    with pytest.raises(KeyError, match="put LoadImage before it"):
        frame_size({}, "any step")
