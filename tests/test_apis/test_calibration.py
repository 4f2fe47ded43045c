"""A trained detector is calibrated on every kind of data, on none that it was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.apis.calibration import (
    calibrate,
    calibration_of,
    describe_calibration,
    measure_coverage,
    save_coverage,
    source_name,
)
from mmlandmark.apis.tested_data import read_tested
from mmlandmark.evaluation import TestedCases
from mmlandmark.inference.loading import load_model


@pytest.fixture(scope="module")
def calibrated(model, annotated):
    (part,) = read_tested(model, annotated)
    return calibrate(model, part.cases, [str(annotated)]), part.cases


def test_the_calibration_is_in_the_model_file(calibrated, tmp_path):
    model, cases = calibrated
    model.save(tmp_path / "ceph.mml.pth")
    again = calibration_of(load_model(tmp_path / "ceph.mml.pth"))
    assert again.to_dict() == model.calibration
    assert again.about["sources"] == ["points.json"]
    np.testing.assert_allclose(again.radii(cases, 0.9), calibration_of(model).radii(cases, 0.9))
    table = describe_calibration(model, cases)
    assert "| nasion" in table
    assert "~ 19 landmarks have fewer than the 19 scores that 95% takes" in table


def test_data_of_two_runs_have_two_names(tmp_path, monkeypatch):
    for run in ("first", "second"):
        (tmp_path / run / "test").mkdir(parents=True)
        (tmp_path / run / "test" / "predictions.json").write_text("{}")
        (tmp_path / run / "points.csv").write_text("")
    assert source_name(tmp_path / "first" / "test") == "first/test"
    assert source_name(tmp_path / "second" / "test" / "predictions.json") == "second/test"
    assert [source_name(tmp_path / "first" / name) for name in ("", "points.csv")] == ["first", "points.csv"]
    monkeypatch.chdir(tmp_path / "first" / "test")
    assert source_name(".") == "first/test"


def test_another_calibration_drops_the_coverage_of_the_one_before(calibrated):
    model, cases = calibrated
    other, covered = dict(mre=1.0), dict(images=3, coverage={"0.9": 0.9})
    model = replace(model, measured={"test": other, "coverage on x": covered})
    assert calibrate(model, cases, ["x"]).measured == {"test": other}


def test_coverage_on_other_images(calibrated, tested, tmp_path):
    model, cases = calibrated
    other = TestedCases.read(tested[0] / "predictions.json")
    report = measure_coverage(model, other, "test")
    names = {path.name for path in save_coverage(report, tmp_path / "report")}
    assert {"coverage.json", "coverage.md", "coverage.png", "coverage_by_landmark_90.png"} <= names
    assert report.overall["points"] == 19 * len(other)
    with pytest.raises(ValueError, match="test: the detector was calibrated on 12 of these 12 images"):
        measure_coverage(model, cases, "test")
    mixed = TestedCases.joined([other, cases.select([0])])
    with pytest.raises(ValueError, match="calibrated on 1 of these"):
        measure_coverage(model, mixed)
    with pytest.raises(ValueError, match="is not calibrated: mmlandmark calibrate MODEL DATA"):
        measure_coverage(replace(model, calibration=None), other)
