"""Arrays as images: dtypes, channels, dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.readers.loaded_image import Pixels, from_array, range_of_bits, to_canonical
from mmlandmark.datasets.transforms import LoadImage
from mmlandmark.structures import apply_matrix, world_matrix


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.bool_, np.uint8), (np.int8, np.int16), (np.uint8, np.uint8), (np.int16, np.int16),
        (np.uint16, np.uint16), (np.int32, np.float32), (np.float64, np.float32), (np.float16, np.float32),
    ],
)  # fmt: skip
def test_dtypes(given, kept):
    array = np.array([[0, 1], [1, 0]]).astype(given)
    image = from_array(array)
    assert image.array.dtype == kept
    np.testing.assert_array_equal(image.array, array.astype(kept) * (255 if given == np.bool_ else 1))


def test_channels_of_arrays():
    assert from_array(np.zeros((4, 5, 1))).array.shape == (4, 5)
    assert from_array(np.zeros((4, 5, 6))).ori_shape == (4, 5, 6)
    colour = np.random.default_rng(0).random((4, 5, 6, 3))
    assert from_array(colour).ori_shape == (4, 5, 6)
    assert from_array(colour).array.shape == (4, 5, 6, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), "2 or 3 dimensions"),
        (np.zeros((2, 2, 2, 2, 2)), "2 or 3 dimensions"),
        (np.array([["a"]]), "pixels must be numbers"),
        (np.zeros((4, 5), complex), "pixels must be numbers"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(ValueError, match=message):
        from_array(array)


def test_arrays_of_records_are_checked_too():
    with pytest.raises(ValueError, match=r"record 'case 3'.*1 of 4 pixels are NaN"):
        LoadImage()(dict(img_path=None, img=np.array([[0, np.nan], [1, 2]]), sample_id="case 3"))
    with pytest.raises(ValueError, match="1 of 4 pixels are NaN or infinite"):  # too large for float32
        LoadImage()(dict(img_path=None, img=np.array([[0, 1e200], [1, 2]]), sample_id="case 3"))


def test_a_volume_of_known_directions_is_reordered_and_an_image_is_not():
    stored = np.arange(24).reshape(2, 3, 4).astype(np.uint8)
    world = world_matrix((1, 1, 1), direction=[[0, 0, 1], [-1, 0, 0], [0, 1, 0]])  # x runs to the front
    image = to_canonical(from_array(stored, dims=3, world_from_original=world))
    assert image.array.shape == (3, 4, 2)
    assert image.ori_shape == (2, 3, 4)
    for point in ((0, 0, 0), (3, 1, 1), (2, 2, 0)):
        x, y, z = apply_matrix(image.img_from_original, np.array([point], float))[0].astype(int)
        assert image.array[z, y, x] == stored[point[::-1]]
    unknown = from_array(stored, dims=3)
    assert to_canonical(unknown) is unknown
    flat = from_array(stored[0], world_from_original=world_matrix((1, 1), direction=[[0, 1], [1, 0]]))
    assert to_canonical(flat) is flat


def test_colours_follow_their_voxels():
    stored = np.random.default_rng(0).integers(0, 255, (2, 3, 4, 3)).astype(np.uint8)
    world = world_matrix((1, 1, 1), direction=[[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    image = to_canonical(from_array(stored, world_from_original=world))
    np.testing.assert_array_equal(image.array, stored.transpose(0, 2, 1, 3)[::-1])


def test_range_of_bits():
    assert range_of_bits(8) == (0, 255)
    assert range_of_bits(12, -2, 100) == (100 - 2 * 4095, 100)
    assert range_of_bits(None, 3, 1) == (1, 4)


def test_pixels_keep_their_range_until_they_are_computed_with():
    pixels = Pixels.of(np.arange(4.0), (0.0, 3.0))
    assert pixels[1:].value_range == pixels.copy().value_range == (0.0, 3.0)
    assert not isinstance(pixels + 1, Pixels)


def test_the_world_of_a_depth_one_array_is_its_own_plane():
    image = from_array(np.zeros((1, 4, 5), np.uint8), spacing=(0.5, 0.25, 2.0), dims=3)
    np.testing.assert_array_equal(image.world_from_original, np.diag([0.5, 0.25, 1.0]))
