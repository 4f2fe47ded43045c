"""A trained detector is calibrated on every kind of data, on none that it was trained on."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmlandmark.apis.calibration import (
    calibrate,
    calibration_of,
    describe_calibration,
    measure_coverage,
    read_tested,
    refuse_seen,
    save_coverage,
)
from mmlandmark.datasets.phantom import render_phantom
from mmlandmark.engine import ConfigError
from mmlandmark.evaluation import TestedCases
from mmlandmark.inference.loading import load_model
from mmlandmark.structures import LandmarkSchema


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained.folder)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory, model):
    """An annotation file of twelve phantoms that the model was not trained on."""
    folder, samples = tmp_path_factory.mktemp("annotated"), []
    for i in range(200, 212):
        image, points, spacing = render_phantom("ceph", 0, i, (64, 64))
        cv2.imwrite(str(folder / f"{i}.png"), image)
        samples.append(dict(image=f"{i}.png", landmarks=points.tolist(), spacing=list(spacing)))
    schema = dict(name="own", landmarks=list(model.schema.landmarks))
    (folder / "points.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    return folder / "points.json"


@pytest.fixture(scope="module")
def calibrated(model, annotated):
    cases, _ = read_tested(model, annotated)
    return calibrate(model, cases, [str(annotated)]), cases


def test_images_are_predicted_as_a_test_does(model, trained, tested, annotated):
    from_test, held_out = read_tested(model, tested[0])
    assert not held_out
    predicted, _ = read_tested(model, trained.path)
    assert predicted.sample_ids == from_test.sample_ids
    np.testing.assert_allclose(predicted.points, from_test.points, atol=1e-4)
    np.testing.assert_allclose(predicted.scores, from_test.scores, atol=1e-5)
    assert predicted.has_spread
    assert predicted.in_mm
    cases, _ = read_tested(model, annotated)
    assert len(cases) == 12
    assert cases.landmarks == model.schema.landmarks


def test_folds_count_as_held_out(model, tested, tmp_path):
    for n, part in enumerate((0, 1)):
        content = json.loads((tested[0] / "predictions.json").read_text())
        content["cases"] = content["cases"][part::2]
        (tmp_path / f"fold_{n}" / "test").mkdir(parents=True)
        (tmp_path / f"fold_{n}" / "test" / "predictions.json").write_text(json.dumps(content))
    cases, held_out = read_tested(model, tmp_path)
    assert held_out
    whole, _ = read_tested(model, tested[0] / "predictions.json")
    assert sorted(cases.sample_ids) == sorted(whole.sample_ids)


def test_data_that_cannot_be_used(model, tmp_path, annotated):
    with pytest.raises(FileNotFoundError, match=r"gone\.json: no such file"):
        read_tested(model, tmp_path / "gone.json")
    with pytest.raises(ConfigError, match="no predictions in it; give the folder of mmlandmark test"):
        read_tested(model, tmp_path)
    (tmp_path / "plain.py").write_text("model = dict()\n")
    with pytest.raises(ConfigError, match="has no test_dataloader"):
        read_tested(model, tmp_path / "plain.py")
    other = replace(model, schema=LandmarkSchema.numbered(19))
    cases, _ = read_tested(model, annotated)
    row = dict(sample_id="a", pred=[[0, 0]], gt=[[0, 0]], spacing=None)
    (tmp_path / "p.json").write_text(json.dumps(dict(cases=[row], landmark_names=["x"])))
    with pytest.raises(ValueError, match=r"p\.json has 1 landmarks \(x, \.\.\.\), the detector 19"):
        read_tested(other, tmp_path / "p.json")
    assert cases.landmarks != other.schema.landmarks


def test_images_of_the_training_are_refused(model, trained, annotated, calibrated):
    config = trained.config()
    config.test_dataloader.dataset = dict(config.train_dataloader.dataset, num_samples=6, offset=2)
    config.dump(trained.folder / "seen.py")
    seen, _ = read_tested(model, trained.folder / "seen.py")
    with pytest.raises(ConfigError, match=r"trained on 2 of these 6 images, e\.g\. \['ceph_0_000002'"):
        refuse_seen(model, seen, "seen.py")
    assert refuse_seen(model, calibrated[1], annotated) == ""
    older = replace(model, training=dict(trained_on={**model.training["trained_on"], "samples": None}))
    del older.training["trained_on"]["samples"]
    assert "names its training set only as a whole" in refuse_seen(older, calibrated[1], "x")
    whole = trained.config()
    whole.test_dataloader.dataset = whole.train_dataloader.dataset
    whole.dump(trained.folder / "whole.py")
    with pytest.raises(ConfigError, match="trained on 4 of these 4 images"):
        refuse_seen(older, read_tested(model, trained.folder / "whole.py")[0], "whole.py")
    assert "does not say what it was trained on" in refuse_seen(replace(model, training={}), seen, "x")


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
