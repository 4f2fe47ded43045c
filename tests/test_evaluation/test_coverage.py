"""The report of a calibration: what it counts, prints and saves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.evaluation import Calibration, CoverageReport
from mmlandmark.utils.files import read_json

from .calibration_cases import made_cases


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return Calibration.fit(made_cases(300, uneven=0.5, seed=1))


def test_it_counts_what_is_inside(calibration):
    cases = made_cases(500, uneven=0.5, seed=2)
    report = CoverageReport.measure(calibration, cases)
    for level in (0.9, 0.95):
        inside = cases.errors <= calibration.radii(cases, level)
        assert report.overall["observed"][str(level)] == pytest.approx(inside.mean())
        assert report.landmarks[2]["observed"][str(level)] == pytest.approx(inside[:, 2].mean())
    np.testing.assert_allclose(report.curve["radii"], report.curve["nominal"], atol=0.05)
    np.testing.assert_allclose(report.curve["regions"], report.curve["nominal"], atol=0.05)
    assert report.overall["points"] == 2000
    assert report.flags["caught"] > 3 * report.flags["flagged"]


def test_a_shift_between_the_data_sets_shows_in_coverage_and_offset(calibration):
    cases = made_cases(500, uneven=0.5, seed=2)
    shifted = replace(cases, truth=cases.truth + np.array([6.0, 8.0]))  # 5 mm
    report = CoverageReport.measure(calibration, shifted)
    assert report.overall["observed"]["0.9"] < 0.6
    for row in report.landmarks:
        assert row["offset"] == pytest.approx(5, abs=0.5)
        assert row["calibration_offset"] < 0.6


def test_missing_points_and_parts_of_the_images(calibration):
    cases = made_cases(100, uneven=0.5, seed=2)
    points, truth = cases.points.copy(), cases.truth.copy()
    points[:7, 0], truth[:, 3] = np.nan, np.nan
    cases = replace(cases, points=points, truth=truth)
    half = np.arange(100) < 50
    report = CoverageReport.measure(calibration, cases, {"first half": half}, note="Half of them.")
    assert report.overall["missing"] == 7
    assert [row["points"] for row in report.landmarks] == [93, 100, 100, 0]
    inside = cases.errors <= calibration.radii(cases, 0.9)
    known = np.isfinite(cases.errors)
    part = report.parts["first half"]
    assert part["points"] == known[half].sum() == 143
    assert part["observed"]["0.9"] == pytest.approx(inside[half][known[half]].mean())
    text = report.to_markdown()
    assert "7 annotated points were not predicted" in text
    assert "Half of them." in text
    assert "| first half" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| point 3")]
    assert row.count(" - ") >= 5


def test_few_scores_are_marked():
    calibration = Calibration.fit(made_cases(15))
    text = CoverageReport.measure(calibration, made_cases(20, seed=4)).to_markdown()
    assert "~ For 95%, 4 landmarks have fewer than 19 scores" in text
    assert "For 90%" not in text


def test_points_without_a_radius_are_not_missed_ones():
    few = made_cases(15)
    few.truth[:, 3] = np.nan  # no score, no radius
    cases = made_cases(50, seed=4)
    calibration = Calibration.fit(few)
    report = CoverageReport.measure(calibration, cases)
    inside = (cases.errors <= calibration.radii(cases, 0.9))[:, :3]
    assert report.overall["observed"]["0.9"] == pytest.approx(inside.mean())
    assert np.isnan([report.landmarks[3][key]["0.9"] for key in ("observed", "region", "radius")]).all()
    (row,) = [line for line in report.to_markdown().splitlines() if line.startswith("| point 3")]
    assert row.count(" - ") + row.count("~- ") == 7
    assert "there is none, and their points count in no coverage" in report.to_markdown()
    assert inside.mean() > 0.7
    # 45 scores together tell nothing of 99 %: the curves end before, and do not fall to 0.
    for key in ("radii", "regions"):
        assert report.curve["nominal"][-1] == 0.99
        assert np.isnan(report.curve[key][-1])
        assert report.curve[key][-3] > 0.85


def test_files(calibration, tmp_path):
    report = CoverageReport.measure(calibration, made_cases(60, seed=3), tested="other.json")
    paths = report.save(tmp_path / "new")
    assert [path.name for path in paths] == ["coverage.json", "coverage.md"]
    saved = read_json(paths[0])
    assert saved == json.loads(json.dumps(report.to_dict()))
    assert saved["about"]["tested"] == "other.json"
    assert paths[1].read_text() == report.to_markdown() == CoverageReport.read(paths[0]).to_markdown()
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json: not a coverage report"):
        CoverageReport.read(tmp_path / "other.json")


def test_other_data_are_refused(calibration):
    with pytest.raises(ValueError, match="the calibration is for 4 landmarks"):
        CoverageReport.measure(calibration, made_cases(5, landmarks=3))
    with pytest.raises(ValueError, match="none of these images has a spacing, but the calibration is in mm"):
        CoverageReport.measure(calibration, made_cases(5, spacing=None))
    cases = made_cases(5)
    with pytest.raises(ValueError, match="the tested images have no spread"):
        CoverageReport.measure(calibration, replace(cases, spread=np.full_like(cases.spread, np.nan)))


def test_an_image_without_spacing_costs_no_more_than_itself(calibration):
    cases = made_cases(100, uneven=0.5, seed=2)
    spacing, spread = cases.spacing.copy(), cases.spread.copy()
    spacing[3], spread[5, 1], cases.points[6, 2] = np.nan, np.nan, (-2.0, 50.0)
    report = CoverageReport.measure(calibration, replace(cases, spacing=spacing, spread=spread))
    assert report.unit == "mm"
    assert report.overall["points"] == 99 * 4 - 2
    assert report.overall["missing"] == 1
    assert report.about["images"] == 99
    assert report.about["left_out"] == dict(images=1, spread=1, withheld=1)
    kept = np.arange(100) != 3
    known = cases.spread_known & (np.arange(100) != 6)[:, None]
    known[5, 1], known[6, [0, 1, 3]] = False, True
    inside = cases.errors <= calibration.radii(cases, 0.9)
    assert report.overall["observed"]["0.9"] == pytest.approx(inside[kept][known[kept]].mean())
    text = report.to_markdown()
    assert "1 images have no spacing and are left out" in text
    assert "1 points are predicted without a spread" in text
    assert "1 points lie outside of the image or are probably absent" in text
