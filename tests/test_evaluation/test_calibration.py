"""Calibrated radii and regions hold what they promise, on data they were not fitted on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.evaluation import Calibration, TestedCases
from mmlandmark.evaluation.conformal import mean_radii, nonconformity

from .calibration_cases import made_cases, prediction_of


def inside(calibration: Calibration, cases: TestedCases, level: float) -> tuple[float, float]:
    """Return the part of points within their radii, and within their regions."""
    radii = cases.errors <= calibration.radii(cases, level)
    regions = nonconformity(cases.residuals, calibration.regions(cases, level)) <= 1
    return float(radii.mean()), float(regions.mean())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["absolute", "scaled", "elliptic"])
def test_observed_coverage_is_the_nominal_one(dims, kind):
    made = dict(dims=dims, temperature=3.0, uneven=0.6, stretched=3.0)
    calibration = Calibration.fit(made_cases(300, seed=1, **made), levels=(0.5, 0.8, 0.95), kind=kind)
    assert calibration.region_kind == kind
    other = made_cases(4000, seed=2, **made)
    for level in calibration.levels:
        for observed in inside(calibration, other, level):
            # 300 scores: the coverage of one landmark varies by sqrt(l (1 - l) / 300), of four by half of it
            assert observed == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 300) / 2)


@pytest.mark.parametrize(
    ("made", "radius", "region"),
    [
        (dict(), "absolute", "absolute"),
        (dict(uneven=0.8), "scaled", "scaled"),
        (dict(uneven=0.8, stretched=4.0), "scaled", "elliptic"),
    ],
)
def test_the_smallest_kind_is_chosen(made, radius, region):
    calibration = Calibration.fit(made_cases(300, seed=3, **made))
    assert (calibration.radius_kind, calibration.region_kind) == (radius, region)
    sizes = calibration.about["mean_sizes"]
    other = made_cases(2000, seed=4, **made)
    for kind in sizes:
        alone = Calibration.fit(made_cases(300, seed=3, **made), kind=kind)
        balls = mean_radii(alone.regions(other, 0.9), other.scale)
        # what cross-fitting on the calibration data expects is what other data show
        assert np.exp(np.log(balls.mean(axis=0)).mean()) == pytest.approx(sizes[kind], rel=0.15)


def test_without_spread_radii_are_absolute():
    cases = made_cases(uneven=0.8)
    bare = replace(cases, spread=np.full_like(cases.spread, np.nan))
    calibration = Calibration.fit(bare)
    assert calibration.radius_kind == calibration.region_kind == "absolute"
    assert calibration.temperature is None
    other = made_cases(2000, seed=5, uneven=0.8)
    other = replace(other, spread=np.full_like(other.spread, np.nan))
    assert inside(calibration, other, 0.9)[0] == pytest.approx(0.9, abs=0.04)
    with pytest.raises(ValueError, match=r"kind 'scaled' needs a spread.*model.test_cfg.spread=True"):
        Calibration.fit(bare, kind="scaled")


def test_few_images_take_the_pooled_quantile():
    cases = made_cases(15)
    cases.truth[:, 3] = np.nan
    calibration = Calibration.fit(cases)
    own, pooled = calibration.quantiles(0.9)
    assert not pooled[:3].any()
    assert pooled[3]
    assert np.isnan(own[3])
    own, pooled = calibration.quantiles(0.95)  # takes 19 scores; the three landmarks have 45 together
    assert pooled.all()
    medians = [np.median(column) for column in calibration.scores["absolute"][:3]]
    np.testing.assert_allclose(own[:3] / medians, own[0] / medians[0])
    assert np.isfinite(own[:3]).all()
    assert np.isnan(own[3])
    assert np.isnan(calibration.quantiles(0.99)[0]).all()  # 45 are too few as well


def test_the_limit_is_4_mm_or_that_of_the_largest_errors():
    cases = made_cases(300)
    far = replace(cases, points=cases.truth + 10 * (cases.points - cases.truth))
    assert Calibration.fit(far).doubt.limit == 4.0
    pixels = replace(far, spacing=np.full_like(far.spacing, np.nan))
    assert Calibration.fit(pixels).doubt.limit == pytest.approx(np.quantile(pixels.errors, 0.95))


def test_a_prediction_is_filled():
    cases = made_cases(300, temperature=4.0, uneven=0.8, stretched=4.0)
    calibration = Calibration.fit(cases, limit=3.0)
    given = prediction_of(cases, 7)
    filled = calibration.apply(given)
    assert set(filled.radii) == set(filled.regions) == {0.9, 0.95}
    assert filled.radius_unit == "mm"
    np.testing.assert_allclose(filled.radii[0.9], calibration.radii(cases, 0.9)[7])
    np.testing.assert_allclose(filled.regions[0.95], calibration.regions(cases, 0.95)[7])
    np.testing.assert_allclose(filled.spread, given.spread * calibration.temperature[:, None, None])
    assert (filled.radii[0.95] > filled.radii[0.9]).all()
    with pytest.raises(ValueError, match="'case0007' is calibrated already"):
        calibration.apply(filled)


def test_a_landmark_that_is_not_predicted_has_no_radius():
    cases = made_cases(100)
    cases.points[0, 1] = np.nan
    filled = Calibration.fit(cases).apply(prediction_of(cases))
    assert np.isnan(filled.radii[0.9][1])
    assert np.isnan(filled.regions[0.9][1]).all()
    assert np.isfinite(filled.radii[0.9][[0, 2, 3]]).all()


def test_millimetres_need_the_spacing_of_the_image():
    cases = made_cases(300, uneven=0.8, stretched=4.0)
    calibration = Calibration.fit(cases)
    assert calibration.region_kind == "elliptic"
    filled = calibration.apply(prediction_of(cases, world_from_original=None))
    assert filled.radius_unit == "mm"
    assert np.isnan(filled.radii[0.9]).all()
    # An ellipse in pixels needs none.
    np.testing.assert_allclose(filled.regions[0.9], calibration.regions(cases, 0.9)[0])
    in_pixels = Calibration.fit(made_cases(100, spacing=None))
    assert in_pixels.apply(prediction_of(cases)).radius_unit == "pixels"


def test_other_detectors_are_refused():
    cases = made_cases(100)
    calibration = Calibration.fit(cases)
    with pytest.raises(ValueError, match="calibrate this detector itself"):
        calibration.apply(prediction_of(made_cases(1, landmarks=3)))
    with pytest.raises(ValueError, match="has no spread, which the calibration was made with"):
        calibration.apply(replace(prediction_of(cases), spread=None))


@pytest.mark.parametrize("kind", ["absolute", "scaled", "elliptic"])
def test_too_few_images_to_choose_a_kind_take_the_one_that_is_named(kind):
    calibration = Calibration.fit(made_cases(4, uneven=0.8, stretched=4.0), kind=kind)
    assert calibration.region_kind == kind
    assert calibration.radius_kind == ("absolute" if kind == "elliptic" else kind)
    assert Calibration.fit(made_cases(4, uneven=0.8, stretched=4.0)).region_kind == "absolute"


def test_a_landmark_with_one_score_is_no_obstacle():
    cases = made_cases(12)
    truth = cases.truth.copy()
    truth[1:, 2], truth[:, 3] = np.nan, np.nan
    calibration = Calibration.fit(replace(cases, truth=truth))
    assert [len(column) for column in calibration.scores["absolute"]] == [12, 12, 1, 0]
    assert np.isfinite(calibration.quantiles(0.9)[0]).tolist() == [True, True, True, False]
    json.dumps(calibration.to_dict(), allow_nan=False)
    truth[1:] = np.nan
    json.dumps(Calibration.fit(replace(cases, truth=truth)).to_dict(), allow_nan=False)


def test_nothing_to_calibrate_on():
    cases = made_cases(3)
    cases.truth[:] = np.nan
    with pytest.raises(ValueError, match="nothing to calibrate on"):
        Calibration.fit(cases)
    with pytest.raises(ValueError, match="kind must be one of absolute, scaled, elliptic, got 'square'"):
        Calibration.fit(made_cases(3), kind="square")
    with pytest.raises(ValueError, match="levels: give at least one"):
        Calibration.fit(made_cases(3), levels=())
    with pytest.raises(ValueError, match="between 0 and 1"):
        Calibration.fit(made_cases(3), levels=(90,))


@pytest.mark.parametrize("made", [dict(), dict(uneven=0.8, stretched=4.0), dict(dims=3, spacing=None)])
def test_plain_values_and_back(made):
    cases = made_cases(60, **made)
    calibration = Calibration.fit(cases)
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict(), allow_nan=False)))
    assert again.to_dict() == calibration.to_dict()
    for level in (0.7, 0.9):
        np.testing.assert_allclose(again.radii(cases, level), calibration.radii(cases, level), rtol=1e-4)
        np.testing.assert_allclose(again.regions(cases, level), calibration.regions(cases, level), rtol=1e-4)


def test_one_image_without_spacing_and_one_point_without_spread_cost_no_more_than_themselves():
    made = dict(uneven=0.8, stretched=4.0)
    cases = made_cases(300, **made)
    spread, spacing, points = cases.spread.copy(), cases.spacing.copy(), cases.points.copy()
    spread[4, 1], spacing[7], points[9, 0] = np.nan, np.nan, (-3.0, 20.0)
    calibration = Calibration.fit(replace(cases, spread=spread, spacing=spacing, points=points))
    whole = Calibration.fit(cases)
    assert (calibration.unit, calibration.radius_kind, calibration.region_kind) == (
        "mm",
        "scaled",
        "elliptic",
    )
    assert calibration.about["images"] == 299
    assert calibration.about["left_out"] == dict(images=1, spread=1, withheld=1)
    assert [len(column) for column in calibration.scores["scaled"]] == [298, 298, 299, 299]
    np.testing.assert_allclose(calibration.quantiles(0.9)[0], whole.quantiles(0.9)[0], rtol=0.05)
    json.dumps(calibration.to_dict(), allow_nan=False)
    far = Calibration.from_dict(calibration.to_dict()).radii(cases, 0.9)
    assert np.isfinite(far).all()


def test_points_outside_of_the_image_do_not_widen_radii():
    cases = made_cases(100)
    cases.points[::9, 1] += 1000.0  # 12 errors of 500 mm and more
    calibration = Calibration.fit(cases, kind="absolute")
    assert calibration.quantiles(0.9)[0][1] < 5
    assert len(calibration.scores["absolute"][1]) == 88
