"""Intensity: values, dtypes, determinism."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import mmlandmark.datasets.transforms as T
from mmlandmark.datasets.readers.loaded_image import Pixels
from mmlandmark.datasets.transforms.intensity import gaussian_blur, to_unit, unit_pixels

RANDOM = [
    T.RandomGamma((0.5, 2.0)),
    T.RandomBrightnessContrast(0.2, 0.3),
    T.RandomNoise(0.05),
    T.RandomBlur((0.5, 2.0), prob=1.0),
    T.CLAHE(),
]


def make_results(img, seed=0, dims=2):
    return dict(img=img, input_shape=img.shape[:dims], rng=np.random.default_rng(seed))


def make_image(dtype=np.uint8, shape=(64, 48), seed=0):
    unit = np.random.default_rng(seed).random(shape)
    return unit.astype(dtype) if np.dtype(dtype).kind == "f" else (unit * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_integers_are_divided_by_their_largest_value(dtype):
    top = np.iinfo(dtype).max
    unit = to_unit(np.array([0, top // 2, top], dtype))
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [0, (top // 2) / top, 1], rtol=1e-6)


def test_floats_are_taken_as_they_are():
    np.testing.assert_array_equal(to_unit(np.array([-2.0, 7.0])), np.array([-2.0, 7.0], np.float32))


@pytest.mark.parametrize("step", RANDOM, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 3)])
def test_random_steps(step, dtype, shape):
    image = make_image(dtype, shape)
    image.flags.writeable = False  # as a cache hands it out
    first, again = (step(make_results(image, seed=3))["img"] for _ in range(2))
    assert first.dtype == np.float32
    assert first.shape == shape
    assert np.isfinite(first).all()
    assert np.abs(first - to_unit(image)).mean() > 1e-3
    np.testing.assert_array_equal(first, again)
    if not isinstance(step, T.CLAHE):
        assert not np.array_equal(first, step(make_results(image, seed=4))["img"])


@pytest.mark.parametrize(
    "step", [s for s in RANDOM if not isinstance(s, T.CLAHE)], ids=lambda s: type(s).__name__
)
def test_volumes(step):
    volume = make_image(np.int16, (10, 12, 14))
    result = step(make_results(volume, dims=3))["img"]
    assert result.shape == volume.shape
    assert result.dtype == np.float32


@pytest.mark.parametrize("step", RANDOM, ids=lambda s: type(s).__name__)
def test_prob_zero_leaves_the_image(step):
    image = make_image()
    idle = type(step)(prob=0.0)
    assert idle(make_results(image))["img"] is image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_gamma_is_the_same_power_for_all_dtypes(dtype):
    image = make_image(dtype)
    result = T.RandomGamma((2.0, 2.0))(make_results(image))["img"]
    np.testing.assert_allclose(result, to_unit(image).astype(np.float64) ** 2, atol=1e-6)


def test_gamma_is_even_in_its_logarithm():
    half = np.full((2, 2), 0.5, np.float32)
    powers = [
        np.log(T.RandomGamma((0.5, 2.0))(make_results(half, seed=s))["img"][0, 0]) / np.log(0.5)
        for s in range(400)
    ]
    assert 0.4 < np.mean(np.array(powers) < 1) < 0.6
    assert 0.5 <= min(powers) < 0.52 < 1.9 < max(powers) <= 2.0001


def test_contrast_keeps_the_mean():
    image = make_image(np.float32)
    result = T.RandomBrightnessContrast(0.0, 0.5)(make_results(image))["img"]
    assert abs(result.mean() - image.mean()) < 1e-5
    assert abs(result.std() / image.std() - 1) > 0.01


def test_noise_is_white_and_has_its_width():
    zeros = np.zeros((200, 300), np.float32)
    noise = [T.RandomNoise(0.1)(make_results(zeros, seed=s))["img"] for s in range(3)]
    for field in noise:
        assert abs(field.std() - 0.1) < 0.002
        assert abs(field.mean()) < 0.002
        assert abs(np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1]) < 0.02
        assert abs(np.corrcoef(field[1:].ravel(), field[:-1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("dims", [2, 3])
def test_blur_has_its_width(dims):
    shape = (31,) * dims
    point = np.zeros(shape, np.float32)
    point[(15,) * dims] = 1
    blurred = gaussian_blur(point, 2.0, dims)
    assert abs(blurred.sum() - 1) < 1e-4
    for axis in range(dims):
        profile = blurred.sum(tuple(a for a in range(dims) if a != axis))
        assert abs(np.sqrt((profile * (np.arange(31) - 15) ** 2).sum()) - 2.0) < 0.05


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_clahe_widens_a_narrow_histogram(dtype):
    image = make_image(np.float32) * 0.1 + 0.4
    image = image if dtype == np.float32 else (image * np.iinfo(dtype).max).astype(dtype)
    result = T.CLAHE(clip_limit=4.0)(make_results(image))["img"]
    assert result.std() > 1.5 * to_unit(image).std()
    assert 0 <= result.min() <= result.max() <= 1


def test_clahe_refuses_volumes():
    with pytest.raises(ValueError, match="2D images only"):
        T.CLAHE()(make_results(np.zeros((4, 4, 4), np.uint8), dims=3))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize(
    ("arguments", "low", "high"),
    [
        (dict(mode="percentile"), lambda x: np.percentile(x, 1), lambda x: np.percentile(x, 99)),
        (
            dict(mode="percentile", low=5, high=90),
            lambda x: np.percentile(x, 5),
            lambda x: np.percentile(x, 90),
        ),
        (dict(mode="range"), np.min, np.max),
        (dict(mode="window", low=20, high=90), lambda x: 20, lambda x: 90),
    ],
)
def test_normalize_to_a_range(dtype, arguments, low, high):
    image = (make_image(np.float32) * 120).astype(dtype)
    result = T.NormalizeIntensity(**arguments)(make_results(image))["img"]
    low, high = low(image), high(image)
    assert result.dtype == np.float32
    expected = np.clip((image.astype(np.float64) - low) / (float(high) - float(low)), 0, 1)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
def test_grey_has_no_hue(shape):
    image, step = make_image(shape=shape), T.RandomHueSaturation(0.5, 1.0)
    with pytest.warns(UserWarning, match="has no effect: the images are grey"):
        assert step(make_results(image))["img"] is image
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step(make_results(image))["img"] is image
    assert step._warned.is_shared()  # so that a loader's process does not say it again


def test_hue_and_saturation_keep_grey_and_brightness():
    image = make_image(np.float32, (40, 30, 3))
    image[:5] = image[:5, :, :1]
    changed = T.RandomHueSaturation(0.3, 0.5)(make_results(image, seed=1))["img"]
    np.testing.assert_allclose(changed[:5], image[:5], atol=1e-6)
    np.testing.assert_allclose(changed.mean(2), image.mean(2), atol=1e-6)
    distance = [np.linalg.norm(x - x.mean(2, keepdims=True), axis=2)[5:] for x in (changed, image)]
    assert np.ptp(distance[0] / distance[1]) < 1e-3  # one factor for all colours
    assert abs(np.median(distance[0] / distance[1]) - 1) > 0.01
    red = np.zeros((1, 1, 3), np.float32)
    red[..., 0] = 1
    third = T.RandomHueSaturation(hue=0.5, saturation=0.0)
    turns = np.concatenate([third(make_results(red, seed=s))["img"].reshape(1, 3) for s in range(200)])
    assert turns.max(0).min() > 0.95  # every primary colour is reached


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_zscore(dtype):
    result = T.NormalizeIntensity("zscore")(make_results(make_image(dtype)))["img"]
    assert abs(result.mean()) < 1e-4
    assert abs(result.std() - 1) < 1e-4


@pytest.mark.parametrize("mode", ["percentile", "range", "zscore"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_constant_image(mode, dtype):
    result = T.NormalizeIntensity(mode)(make_results(np.full((4, 4), 9, dtype)))["img"]
    np.testing.assert_array_equal(result, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.NormalizeIntensity("magic"), "mode must be one of"),
        (lambda: T.NormalizeIntensity("window"), "needs low < high"),
        (lambda: T.NormalizeIntensity("percentile", 60, 40), "0 <= low < high <= 100"),
        (lambda: T.NormalizeIntensity("zscore", 1, 2), "takes no low and high"),
        (lambda: T.RandomGamma((2, 1)), "gamma must be"),
        (lambda: T.RandomGamma((0, 1)), "gamma must be"),
        (lambda: T.RandomNoise(-1), "std must be"),
        (lambda: T.RandomBlur((1, 2, 3)), "sigma must be"),
        (lambda: T.RandomBrightnessContrast(contrast=2), r"contrast in \[0, 1\]"),
        (lambda: T.RandomHueSaturation(hue=0.6), r"hue must be in \[0, 0.5\]"),
        (lambda: T.CLAHE(clip_limit=0), "clip_limit must be > 0"),
        (lambda: T.CLAHE(prob=2), "prob must lie"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- what black and white are -----------------------------------------------------------------------

RANGES = {
    "12 bits in 16": (np.uint16, (0.0, 4095.0)),
    "Hounsfield units": (np.float32, (-1024.0, 3071.0)),
    "8 bits": (np.uint8, (0.0, 255.0)),
    "a part of 8 bits": (np.uint8, (50.0, 150.0)),
}


def make_ranged(name, seed=0):
    """Return results as LoadImage makes them, and the same picture where black is 0 and white is 1."""
    dtype, (low, high) = RANGES[name]
    image = np.round(np.random.default_rng(seed).random((64, 48)) * (high - low) + low).astype(dtype)
    results = make_results(image, seed=5)
    results.update(value_range=(low, high), loaded_dtype=image.dtype)
    return results, (image.astype(np.float32) - np.float32(low)) / np.float32(high - low)


@pytest.mark.parametrize("step", RANDOM, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", RANGES)
def test_steps_work_in_units_of_the_range(step, name):
    results, unit = make_ranged(name)
    results = step(results)
    expected = step(make_results(unit, seed=5))["img"]
    # CLAHE counts grey levels, of which 8 bits have fewer.
    tolerance = 0.03 if isinstance(step, T.CLAHE) and name == "8 bits" else 1e-4
    np.testing.assert_allclose(results["img"], expected, atol=tolerance)


@pytest.mark.parametrize("name", RANGES)
def test_the_range_is_taken_once(name):
    results, unit = make_ranged(name)
    for step in (T.RandomNoise(0.0), T.RandomBlur(0.001, prob=1.0), T.RandomBrightnessContrast(0.0, 0.0)):
        results = step(results)
    np.testing.assert_allclose(unit_pixels(results), unit, atol=1e-5)


@pytest.mark.parametrize("name", RANGES)
def test_normalisation_sees_the_values_of_the_file(name):
    results, unit = make_ranged(name)
    low, high = results["value_range"]
    middle = (low + high) / 2
    found = T.NormalizeIntensity("window", middle, high)(results)
    np.testing.assert_allclose(found["img"], np.clip(2 * unit - 1, 0, 1), atol=1e-5)
    np.testing.assert_array_equal(unit_pixels(found), found["img"])


def test_steps_that_know_no_ranges_still_fit():
    """A step of one's own that made unit pixels of integers by itself is not scaled twice."""
    results, _ = make_ranged("8 bits")
    results["img"] = 1 - to_unit(results["img"])
    expected = results["img"].copy()
    np.testing.assert_array_equal(unit_pixels(results), expected)


def test_pixels_of_a_file_keep_their_range():
    array = Pixels.of(np.array([[0, 2048, 4095]], np.uint16), (0.0, 4095.0))
    np.testing.assert_allclose(to_unit(array), [[0, 2048 / 4095, 1]], rtol=1e-6)
    for view in (array[:, 1:], array.copy(), array.astype(np.float32), array.T):
        assert view.value_range == (0.0, 4095.0)
    computed = array * np.uint16(2)
    assert type(computed) is np.ndarray
    assert type(to_unit(array)) is np.ndarray
    np.testing.assert_allclose(to_unit(array, (0, 8190)), [[0, 2048 / 8190, 0.5]], rtol=1e-6)
