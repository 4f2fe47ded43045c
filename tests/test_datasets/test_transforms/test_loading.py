"""LoadImage: frame, size, channels, spacing, and what it refuses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.image_cache import ImageCache
from mmlandmark.datasets.transforms import LoadImage, PackInputs, Pad, Resample
from mmlandmark.registry import TRANSFORMS
from mmlandmark.structures import resize_matrix, scale_matrix


@pytest.fixture
def path(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.arange(60 * 50, dtype=np.uint16).reshape(60, 50) * 20)
    return str(tmp_path / "a.png")


def test_without_size(path):
    results = LoadImage()(dict(img_path=path))
    assert results["img"].shape == results["ori_shape"] == results["input_shape"] == (60, 50)
    assert results["img"].dtype == np.uint16
    np.testing.assert_array_equal(results["input_from_original"], np.eye(3))
    assert results["spacing"] is None
    assert not results["img"].flags.writeable


def test_with_size(path):
    results = LoadImage(size=(20, 25))(dict(img_path=path))
    assert results["img"].shape == results["input_shape"] == (20, 25)
    assert results["ori_shape"] == (60, 50)
    np.testing.assert_allclose(results["img_from_original"], resize_matrix((60, 50), (20, 25)))
    expected = np.arange(60 * 50).reshape(20, 3, 25, 2).mean((1, 3)) * 20
    assert np.abs(results["img"] - expected).max() <= 1


def test_keep_aspect(path):
    results = LoadImage(size=(30, 30), keep_aspect=True)(dict(img_path=path))
    assert results["img"].shape == (30, 25)


def test_enlarging_one_axis_and_shrinking_the_other(path):
    results = LoadImage(size=(120, 25))(dict(img_path=path))
    assert results["img"].shape == (120, 25)
    y = (np.arange(120) + 0.5) / 2 - 0.5
    x = (np.arange(25) + 0.5) * 2 - 0.5
    expected = 20 * (50 * np.clip(y, 0, 59)[:, None] + x)
    assert np.abs(results["img"] - expected).max() <= 2


def test_reduced_jpeg_has_the_exact_matrix(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((485, 411), np.uint8))
    results = LoadImage(size=(60, 48))(dict(img_path=str(tmp_path / "a.jpg")))
    assert results["ori_shape"] == (485, 411)
    quarter = scale_matrix(0.25, (-0.5, -0.5))  # decoded at 1/4, as 122 x 103
    np.testing.assert_allclose(results["img_from_original"], resize_matrix((122, 103), (60, 48)) @ quarter)


@pytest.mark.parametrize(("channels", "shape"), [(None, (60, 50)), (1, (60, 50)), (3, (60, 50, 3))])
def test_channels_of_grey(path, channels, shape):
    results = LoadImage(channels=channels)(dict(img_path=path))
    assert results["img"].shape == shape
    assert results["input_shape"] == (60, 50)


def test_colour_to_grey():
    results = LoadImage(channels=1)(dict(img_path=None, img=np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)))
    np.testing.assert_allclose(results["img"], [[76, 29]], atol=1)  # luma of red and blue


def test_volume_by_area():
    volume = np.random.default_rng(0).integers(0, 255, (8, 6, 10)).astype(np.uint8)
    results = LoadImage(size=(4, 3, 5))(dict(img_path=None, img=volume, sample_id="v"))
    expected = volume.reshape(4, 2, 3, 2, 5, 2).mean((1, 3, 5))
    assert np.abs(results["img"] - expected).max() <= 0.5 + 1e-4
    np.testing.assert_allclose(results["img_from_original"], resize_matrix((8, 6, 10), (4, 3, 5)))


def test_spacing_of_the_file_only_on_demand(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.zeros((6, 5), np.uint8))
    image.SetSpacing((0.2, 0.3))
    path = str(tmp_path / "a.mha")
    sitk.WriteImage(image, path)
    assert LoadImage()(dict(img_path=path))["spacing"] is None
    assert LoadImage(file_spacing=True)(dict(img_path=path))["spacing"] == (0.2, 0.3)
    own = np.array([1.0, 1.0])
    assert LoadImage(file_spacing=True)(dict(img_path=path, spacing=own))["spacing"] is own


def test_bad_records(path):
    with pytest.raises(ValueError, match=r"a\.png.*has 2 dimensions.*size \(4, 4, 4\)"):
        LoadImage(size=(4, 4, 4))(dict(img_path=path))
    with pytest.raises(ValueError, match=r"a\.png.*shape \(60, 50\).*record has \(50, 60\)"):
        LoadImage()(dict(img_path=path, ori_shape=(50, 60)))
    with pytest.raises(ValueError, match="record 'case 7' has neither"):
        LoadImage()(dict(img_path=None, sample_id="case 7"))
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        LoadImage()(dict(img_path=path.replace("a.png", "b.png")))


@pytest.mark.parametrize("size", [(0, 5), (5,), 5, (1, 2, 3, 4), (2.5, 3)])
def test_bad_size(size):
    with pytest.raises(ValueError, match="size must be"):
        LoadImage(size=size)


def test_bad_channels():
    with pytest.raises(ValueError, match="channels must be 1, 3 or None"):
        LoadImage(channels=2)


def test_all_transforms_are_registered_here():
    import mmlandmark.datasets.transforms as transforms

    for name in transforms.__all__:
        assert TRANSFORMS.get(name) is getattr(transforms, name)


# ---- range and frame --------------------------------------------------------------------------------


def test_range_by_file_and_by_option(path):
    assert LoadImage()(dict(img_path=path))["value_range"] == (0, 65535)
    assert LoadImage(bits=12)(dict(img_path=path))["value_range"] == (0, 4095)
    assert LoadImage(bits=16)(dict(img_path=path))["value_range"] == (0, 65535)
    assert LoadImage(value_range=(-5, 7))(dict(img_path=path))["value_range"] == (-5, 7)
    grey = dict(img_path=None, img=np.zeros((4, 5), np.uint8), sample_id="a")
    assert LoadImage(bits=12)(dict(grey))["value_range"] == (0, 255)
    assert LoadImage()(dict(grey, img=np.zeros((4, 5))))["value_range"] == (0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(bits=12, value_range=(0, 4095)), "give one of them"),
        (dict(bits=0), "bits must be an integer from 1 to 32"),
        (dict(bits=12.5), "bits must be an integer"),
        (dict(value_range=(5, 5)), r"value_range must be \(black, white\)"),
        (dict(value_range=(1, 2, 3)), r"value_range must be \(black, white\)"),
    ],
)
def test_bad_range(options, message):
    with pytest.raises(ValueError, match=message):
        LoadImage(**options)


def test_padding_is_black_whatever_black_is():
    image = np.full((10, 10), 1000.0, np.float32)
    steps = (LoadImage(value_range=(-1024, 3071)), Pad((20, 20)), Resample(), PackInputs())
    results = dict(img_path=None, img=image, sample_id="a", landmarks=np.zeros((1, 2), np.float32))
    for step in steps:
        results = step(results)
    pixels = results["data_samples"].unit_pixels(results["inputs"])
    assert pixels[0, 0, 0] == 0
    np.testing.assert_allclose(pixels[0, 10, 10], 2024 / 4095, rtol=1e-6)


def test_world_of_the_file_reaches_the_sample_and_the_cache(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.uint8))
    image.SetSpacing((0.2, 0.3, 0.4))
    image.SetOrigin((1, 2, 3))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    path = str(tmp_path / "a.mha")
    sitk.WriteImage(image, path)
    record = dict(img_path=path, sample_id="a", landmarks=np.array([[1, 2, 3]], np.float32))
    plain = PackInputs()(LoadImage()(dict(record)))["data_samples"]
    place = image.TransformContinuousIndexToPhysicalPoint((1.0, 2.0, 3.0))
    np.testing.assert_allclose(plain.to_world(plain.gt_landmarks)[0], place, rtol=1e-6)
    assert plain.spacing is None  # the annotation says none, and nobody asked for the file's
    for mode in (dict(mode="ram", max_gb=0.01), dict(mode="disk", folder=tmp_path / "cache")):
        cache = ImageCache(**mode)
        for _ in range(2):
            results = LoadImage(file_spacing=True, value_range=(0, 9))(dict(record, image_cache=cache))
            np.testing.assert_array_equal(results["world_from_original"], plain.world_from_original)
            assert results["ori_shape"] == (4, 5, 6)
            # z of the world is the stored axis y, y is x, x is z.
            assert results["input_shape"] == results["img"].shape == (5, 6, 4)
            np.testing.assert_allclose(results["spacing"], (0.2, 0.3, 0.4))
            assert results["value_range"] == (0, 9)


def test_cache_keeps_range_and_bits_of_the_file(tmp_path, path):
    for mode in (dict(mode="ram", max_gb=0.01), dict(mode="disk", folder=tmp_path / "cache")):
        cache = ImageCache(**mode)
        for _ in range(2):
            assert LoadImage(bits=12)(dict(img_path=path, image_cache=cache))["value_range"] == (0, 4095)
            assert LoadImage()(dict(img_path=path, image_cache=cache))["value_range"] == (0, 65535)


def test_cache_tells_fill_values_apart(tmp_path):
    array = np.zeros((4, 5), np.float32)
    array[1, 1] = np.nan
    np.save(tmp_path / "a.npy", array)
    cache = ImageCache("ram", max_gb=0.01)
    for value in (0.5, 0.25, 0.5):
        results = LoadImage(fill_value=value)(dict(img_path=str(tmp_path / "a.npy"), image_cache=cache))
        assert results["img"][1, 1] == value
    with pytest.raises(ValueError, match=r"a\.npy.*1 of 20 pixels"):
        LoadImage()(dict(img_path=str(tmp_path / "a.npy"), image_cache=cache))
