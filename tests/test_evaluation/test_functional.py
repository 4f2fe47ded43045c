"""Numbers worked by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mmlandmark.evaluation import functional as F

NAN = np.nan


@pytest.fixture(autouse=True)
def _no_warnings():
    """Missing points are normal: no function may warn about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def points(*rows):
    return np.array(rows, dtype=np.float32)


def test_radial_errors_in_pixels():
    gt = points([[0, 0], [1, 1]], [[5, 5], [NAN, NAN]])
    pred = points([[3, 4], [1, 1]], [[5, 7], [1, 1]])
    np.testing.assert_allclose(F.radial_errors(pred, gt), [[5, 0], [2, NAN]])


def test_radial_errors_anisotropic_spacing_scales_each_axis():
    gt, pred = points([[0, 0]], [[0, 0]]), points([[3, 4]], [[3, 4]])
    errors = F.radial_errors(pred, gt, np.array([[1.0, 0.5], [2.0, 2.0]]))
    np.testing.assert_allclose(errors, [[np.sqrt(9 + 4)], [10]])
    np.testing.assert_allclose(F.radial_errors(pred, gt, np.array([0.1, 2.0])), [[0.5], [10]])
    np.testing.assert_allclose(F.radial_errors(pred, gt, 0.1), [[0.5], [0.5]])


def test_radial_errors_3d():
    gt, pred = points([[0, 0, 0]]), points([[1, 2, 2]])
    np.testing.assert_allclose(F.radial_errors(pred, gt), [[3]])
    np.testing.assert_allclose(F.radial_errors(pred, gt, np.array([[2, 1, 2]])), [[np.sqrt(4 + 4 + 16)]])


def test_half_a_point_and_infinite_points_are_missing():
    gt, pred = points([[0, NAN], [0, 0], [0, 0]]), points([[0, 0], [np.inf, 0], [0, NAN]])
    assert np.isnan(F.radial_errors(pred, gt)).all()


@pytest.mark.parametrize(
    ("pred", "gt", "scale", "words"),
    [
        (np.zeros((1, 2, 2)), np.zeros((1, 3, 2)), None, "must both be"),
        (np.zeros((2, 2)), np.zeros((2, 2)), None, "must both be"),
        (np.zeros((1, 2, 4)), np.zeros((1, 2, 4)), None, "must both be"),
        (np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), [[0.1, 0.0]], "positive"),
        (np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), [[0.1, 0.1, 0.1]], "per image"),
    ],
)
def test_radial_errors_refuses(pred, gt, scale, words):
    with pytest.raises(ValueError, match=words):
        F.radial_errors(pred, gt, scale)


def test_summary_pooled_per_landmark_and_per_image():
    errors = np.array([[1.0, 3.0], [5.0, NAN], [NAN, NAN]])
    pooled = F.summarize(errors)
    assert pooled["mre"] == pytest.approx(3.0)
    assert pooled["sd"] == pytest.approx(np.sqrt(8 / 3))
    assert pooled["median"] == pytest.approx(3.0)
    assert pooled["p95"] == pytest.approx(4.8)
    assert pooled["count"] == 3
    by_landmark = F.summarize(errors, axis=0)
    np.testing.assert_allclose(by_landmark["mre"], [3, 3])
    np.testing.assert_allclose(by_landmark["sd"], [2, 0])
    np.testing.assert_allclose(by_landmark["p95"], [4.8, 3])
    np.testing.assert_allclose(F.per_image_mean(errors), [2, 5, NAN])


def test_mean_over_points_and_over_images_differ_with_missing_points():
    errors = np.array([[1.0, 3.0], [5.0, NAN]])
    assert F.summarize(errors)["mre"] == pytest.approx(3.0)
    assert F.summarize(F.per_image_mean(errors))["mre"] == pytest.approx(3.5)


def test_summary_of_nothing_is_nan():
    summary = F.summarize(np.full((2, 2), NAN))
    assert summary["count"] == 0
    assert all(np.isnan(summary[key]) for key in ("mre", "sd", "median", "p95"))


def test_success_rate_on_the_radius():
    errors = np.array([[1.0, 2.0, 2.5, NAN]])
    assert F.success_rate(errors, 2) == pytest.approx(200 / 3)
    assert F.success_rate(errors, 2, strict=True) == pytest.approx(100 / 3)
    assert F.outlier_rate(errors, 2) == pytest.approx(100 / 3)
    assert F.outlier_rate(errors, 2, strict=True) == pytest.approx(200 / 3)
    np.testing.assert_allclose(F.success_rate(errors, 2, axis=0), [100, 100, 0, NAN])


def test_annotated_but_not_predicted_is_a_failure():
    errors, annotated = np.array([[1.0, NAN, NAN]]), np.array([[True, True, False]])
    assert F.success_rate(errors, 2, valid=annotated) == pytest.approx(50)
    assert F.outlier_rate(errors, 2, valid=annotated) == pytest.approx(50)
    assert F.success_rate(errors, 2) == pytest.approx(100)


def test_reference_scale():
    gt = points([[0, 0], [30, 40], [1, 1]], [[0, 0], [0, 100], [1, 1]])
    scale = F.reference_scale(gt, (0, 1), 50.0)
    np.testing.assert_allclose(scale, [[1, 1], [0.5, 0.5]])
    np.testing.assert_allclose(F.radial_errors(gt + points([[3, 4]]), gt, scale), [[5] * 3, [2.5] * 3])


def test_reference_scale_keeps_the_shape_of_pixels():
    # Pixels twice as high as wide: the reference is 10 wide pixels, or 5 high ones.
    gt = points([[0, 0], [10, 0]], [[0, 0], [0, 5]])
    scale = F.reference_scale(gt, (0, 1), 20.0, spacing=np.array([[1, 2], [1, 2]]))
    np.testing.assert_allclose(scale, [[2, 4], [2, 4]])


def test_reference_scale_of_a_missing_or_flat_reference_is_nan():
    gt = points([[0, 0], [NAN, NAN]], [[1, 1], [1, 1]])
    assert np.isnan(F.reference_scale(gt, (0, 1))).all()


@pytest.mark.parametrize(("pair", "length"), [((0, 0), 1), ((0, 2), 1), ((-1, 0), 1), ((0, 1), 0)])
def test_reference_scale_refuses(pair, length):
    with pytest.raises(ValueError, match="reference"):
        F.reference_scale(np.zeros((1, 2, 2)), pair, length)


def test_cumulative_curve_rises_through_the_errors():
    curve = F.cumulative_curve(np.array([[1.0, 2.0], [3.0, 4.0]]), [0, 1, 2.5, 4])
    np.testing.assert_allclose(curve, [0, 25, 50, 100])


def test_mean_interval_holds_the_mean_and_is_reproducible():
    errors = np.random.default_rng(0).gamma(2, 1, (60, 5))
    errors[0, 0] = NAN
    low, high = F.mean_interval(errors, seed=3)
    assert low < np.nanmean(errors) < high
    assert (low, high) == F.mean_interval(errors, seed=3)
    narrow = F.mean_interval(errors, level=0.5)
    assert narrow[1] - narrow[0] < high - low
    assert np.isnan(F.mean_interval(np.full((2, 2), NAN))).all()
    assert np.isnan(F.mean_interval(np.ones((1, 5)))).all()  # nothing is known of other images


def test_images_of_one_patient_are_resampled_together():
    """Ten patients with six equal images each say no more than ten images."""
    one = np.random.default_rng(0).gamma(2, 1, (10, 3))
    many, groups = np.repeat(one, 6, axis=0), np.repeat(list("abcdefghij"), 6)
    assert F.mean_interval(many, groups=groups) == pytest.approx(F.mean_interval(one))
    low, high = F.mean_interval(many)
    assert high - low < 0.6 * np.diff(F.mean_interval(one))[0]
    assert F.mean_interval(one, groups=[None] * 10) == F.mean_interval(one)
    assert np.isnan(F.mean_interval(one, groups=["a"] * 10)).all()


def test_coordinate_mse_is_a_fraction_of_each_side():
    gt = points([[0, 0], [10, 10]])
    pred = points([[10, 0], [10, 30]])
    # Width 100, height 200: offsets 0.1, 0, 0, 0.1.
    assert F.coordinate_mse(pred, gt, np.array([[100, 200]])) == pytest.approx((0.01 + 0.01) / 4)
    pred[0, 1] = NAN
    assert F.coordinate_mse(pred, gt, np.array([[100, 200]])) == pytest.approx(0.1**2 / 2)
    assert np.isnan(F.coordinate_mse(np.full_like(gt, NAN), gt, np.array([[100, 200]])))


def test_pearson_rho():
    gt = points([[1, 2], [3, 4]])
    assert F.pearson_rho(2 * gt + 1, gt) == pytest.approx(1)
    assert F.pearson_rho(-gt, gt) == pytest.approx(-1)
    assert np.isnan(F.pearson_rho(np.ones_like(gt), gt))
    size = np.array([[10, 100]])
    a, b = np.array([0.1, 0.02, 0.3, 0.04]), np.array([0.2, 0.02, 0.3, 0.05])
    pred = points([[2, 2], [3, 5]])
    assert F.pearson_rho(pred, gt, size) == pytest.approx(np.corrcoef(a, b)[0, 1])
