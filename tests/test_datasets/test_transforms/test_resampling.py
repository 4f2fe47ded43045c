"""Pixels are read once, the same way as a direct warp, in 2D and 3D and at any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates

import mmlandmark.datasets.transforms as T
from dot_images import SHAPES, centroid, make_results, px, run
from mmlandmark.datasets.transforms import resampling
from mmlandmark.datasets.transforms.resampling import resize_array, sample, source_coordinates
from mmlandmark.structures import apply_matrix, invert_matrix


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_one_resampling_equals_a_direct_warp(dtype):
    results = make_results(dtype=dtype, sigma=30.0)
    image = results["img"]
    affine = T.RandomAffine(15, 0.1, px(10))
    steps = [T.Resize((150, 160)), affine, T.RandomFlip(1.0), T.CenterCrop((140, 120))]
    for step in steps:
        results = step(results)
        assert results["img"] is image  # geometry never touches pixels
    matrix = results["input_from_original"]
    direct = cv2.warpAffine(image, matrix[:2], (120, 140), flags=cv2.INTER_LINEAR)
    result = T.Resample()(results)["img"]
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, direct)


def test_3d_equals_torch_affine_grid():
    results = run(make_results(3), T.RandomAffine(15, 0.1, px(3, 3)))
    image, matrix, size = results["img"], results["input_from_original"], results["input_shape"]
    inverse, sides = invert_matrix(matrix), np.array(size[::-1], np.float64)
    # From pixels to the interval [-1, 1] of PyTorch, which ends at the outer edges of the outer pixels.
    normalise = np.diag([*2 / sides, 1.0])
    normalise[:3, 3] = 1 / sides - 1
    theta = torch.from_numpy((normalise @ inverse @ np.linalg.inv(normalise))[:3]).float()
    grid = F.affine_grid(theta[None], (1, 1, *size), align_corners=False)
    direct = F.grid_sample(torch.from_numpy(image.copy())[None, None], grid, align_corners=False)[0, 0]
    np.testing.assert_allclose(T.Resample()(results)["img"], direct.numpy(), atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_identity_copies_nothing(dims):
    results = make_results(dims)
    image = results["img"]
    assert T.Resample()(results)["img"] is image


@pytest.mark.parametrize("dims", [2, 3])
def test_strong_shrinking_does_not_alias(dims):
    shape = (128, 128) if dims == 2 else (32, 32, 32)
    checkers = (np.indices(shape).sum(0) % 2).astype(np.float32)
    size = tuple(n // 4 - 1 for n in shape)
    worst = {}
    for interpolation in ("linear", "nearest"):
        results = T.LoadImage()(dict(img_path=None, img=checkers, sample_id="c"))
        results = run(results, T.Resize(size), T.Resample(interpolation, border="replicate"))
        worst[interpolation] = np.abs(results["img"][(slice(1, -1),) * dims] - 0.5).max()
    assert worst["linear"] < 0.06
    assert worst["nearest"] == 0.5


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_dtype_and_colour_survive(dims, dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(1, 200, (*[24] * dims, 3)).astype(dtype)
    record = dict(img_path=None, img=image, sample_id="c", rng=rng, landmarks=np.ones((1, dims), np.float32))
    steps = [T.RandomAffine(20, 0.1, 0.08), T.RandomElastic(0.04, 2), T.Resample()]
    results = run(T.LoadImage()(record), *steps)
    assert results["img"].dtype == dtype
    assert results["img"].shape == image.shape
    assert results["img"].max() <= 200


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("border", "outside"), [("constant", 7.0), ("replicate", 50.0), ("reflect", 50.0)])
def test_border(dims, border, outside):
    image = np.full((10,) * dims, 50.0, np.float32)
    results = T.LoadImage()(dict(img_path=None, img=image, sample_id="c"))
    results = run(results, T.Pad((20,) * dims), T.Resample(border=border, border_value=7.0))
    assert results["img"].shape == (20,) * dims
    np.testing.assert_allclose(results["img"][(0,) * dims], outside, rtol=1e-5)
    np.testing.assert_allclose(results["img"][(10,) * dims], 50.0, rtol=1e-5)


def test_cubic_is_for_2d():
    results = run(make_results(2), T.RandomAffine(5), T.Resample("cubic"))
    assert results["img"].shape == SHAPES[2]
    with pytest.raises(ValueError, match="2D only"):
        run(make_results(3), T.RandomAffine(5), T.Resample("cubic"))


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("border", ["constant", "replicate", "reflect"])
@pytest.mark.parametrize("shape", [(50, 70), (50, 70, 3)])
def test_tiles_of_a_large_image_are_those_of_one_piece(interpolation, border, shape, monkeypatch):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 255, shape).astype(np.uint8)
    # Far outside as well, on the grid of 1/32 px that OpenCV interpolates on, but never between two pixels.
    places = np.round(rng.uniform(-45, 95, (60, 65, 2)) * 32).astype(np.float32) / 32
    places[:20] = places[:20] % 40
    places[places % 1 == 0.5] += 1 / 32
    whole = sample(array, places, interpolation, border, 7)
    monkeypatch.setattr(resampling, "_REMAP_LIMIT", 49)
    monkeypatch.setattr(resampling, "_TILE", 1)  # pixels have no order here, so that larger tiles need it all
    tiled = sample(array, places, interpolation, border, 7).astype(int)
    # The weights of cubic interpolation are rounded so that a mirrored place may read one level off.
    assert np.abs(tiled - whole).max() <= (interpolation == "cubic")


@pytest.mark.parametrize("shape", [(24, 40000), (40000, 24)])
@pytest.mark.parametrize("elastic", [True, False])
def test_sides_beyond_16_bits(shape, elastic):
    image = cv2.GaussianBlur(np.random.default_rng(0).random(shape, dtype=np.float32), (0, 0), 2)
    point = np.array([[11.0, 11.0]], np.float32)
    point[0, int(np.argmax(shape[::-1]))] = 38000.0
    results = dict(img=image, img_path=None, sample_id="long", landmarks=point, rng=np.random.default_rng(3))
    results = T.RandomElastic(1.4 / 24)(T.LoadImage()(results)) if elastic else T.LoadImage()(results)
    results = T.RandomAffine(shift=3 / 24)(results)
    places = source_coordinates(np.eye(3), results["input_from_original"], shape, results.get("elastic", ()))
    result = T.Resample(border="replicate")(results)["img"]
    expected = map_coordinates(image, places[..., ::-1].transpose(2, 0, 1), order=1, mode="nearest")
    assert np.abs(result - expected).max() < 0.01
    # The landmark lies where the deformed image shows what it marked.
    place = apply_matrix(results["input_from_original"], results["landmarks"].astype(np.float64))[0]
    found = [map_coordinates(places[..., axis], place[::-1, None], order=1)[0] for axis in (0, 1)]
    np.testing.assert_allclose(found, point[0], atol=0.02)


def test_geometry_after_resample_goes_on_from_there():
    results = run(make_results(), T.Resize((180, 162)), T.Resample(), T.RandomAffine(10), T.Resample())
    expected = apply_matrix(results["input_from_original"], results["landmarks"])[0]
    assert np.abs(centroid(results["img"]) - expected).max() < 0.1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(12, 20), (12, 20, 3)])
def test_resizing_averages_areas(dtype, shape):
    array = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    assert resize_array(array, (12, 20)) is array
    half = resize_array(array, (6, 10))
    blocks = array.reshape(6, 2, 10, 2, *shape[2:]).mean((1, 3))
    assert half.dtype == dtype
    np.testing.assert_allclose(half, blocks, atol=0.51 if dtype != np.float32 else 1e-4)
    # One axis grows and the other shrinks.
    assert resize_array(array, (24, 5)).shape == (24, 5, *shape[2:])


def test_resizing_a_volume_averages_blocks():
    volume = np.random.default_rng(0).integers(0, 200, (8, 12, 10)).astype(np.float32)
    blocks = volume.reshape(4, 2, 6, 2, 5, 2).mean((1, 3, 5))
    np.testing.assert_allclose(resize_array(volume, (4, 6, 5)), blocks, atol=1e-3)
