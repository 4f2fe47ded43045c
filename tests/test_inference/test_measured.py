"""Results of tests, and the effect of half precision."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmlandmark.inference.measured import (
    check_tested,
    half_difference,
    results_beside,
    results_in,
    with_half_difference,
)
from mmlandmark.inference.origin import origin_of
from mmlandmark.testing import tiny_model


def report(folder, tested, mre=1.5, label=None):
    folder.mkdir(parents=True)
    numbers = dict(mre=mre, sd=0.5, median=1.25, p95=2.5, sdr=[50.0, 100.0], annotated=8, predicted=8)
    content = dict(
        tested=tested, unit="mm", radii=[2.0, 2.5], overall=numbers | dict(images=4),
        landmarks=[dict(name="sella", **numbers)],
    )  # fmt: skip
    (folder / "report.json").write_text(json.dumps(content))
    if label is not None:
        (folder / "test.json").write_text(json.dumps(dict(test=label)))


def test_only_the_plain_tests_of_the_checkpoint_count(tmp_path):
    config = tiny_model().config
    assert results_beside(tmp_path / "epoch_4.pth", config) == {}
    report(tmp_path / "test", "moved/run/epoch_4.pth", label="test_last")
    report(tmp_path / "test_last_0a1b2c3d", "run/epoch_4.pth", mre=9)  # with other values
    report(tmp_path / "test_epoch_2", "run/epoch_2.pth", mre=7)
    found = results_beside(tmp_path / "epoch_4.pth", config)
    assert list(found) == ["test"]
    assert found["test"] == dict(
        data="PhantomDataset", unit="mm", images=4, mre=1.5, sd=0.5, median=1.25, p95=2.5,
        sdr={"2": 50.0, "2.5": 100.0}, landmarks=dict(sella=1.5),
    )  # fmt: skip
    (tmp_path / "test" / "test.json").write_text('{"test": "test_last_0a1b2c3d"}')
    assert results_beside(tmp_path / "epoch_4.pth", config) == {}


def test_results_of_a_folder_are_those_of_any_file_or_of_one(tmp_path):
    config = tiny_model().config
    assert results_in(tmp_path, config) == {}
    report(tmp_path / "elsewhere", "other.mml.pth", mre=2.5)
    assert results_in(tmp_path / "elsewhere", config)["test"]["mre"] == 2.5
    assert results_in(tmp_path / "elsewhere", config, "epoch_4.pth") == {}


def test_results_are_of_the_model_that_takes_them(tmp_path):
    model = tiny_model()
    report(tmp_path / "test", "run/epoch_4.pth")
    assert "does not say which weights were tested" in check_tested(tmp_path / "test", model)
    own = origin_of(model)

    def write(origin):
        (tmp_path / "test" / "predictions.json").write_text(json.dumps(dict(origin=origin.to_dict())))

    write(own)
    assert check_tested(tmp_path / "test", model) == ""
    write(replace(own, answers="0", options=dict(flip=True)))
    with pytest.raises(ValueError, match=r"report\.json is about other flip than model 'untrained'"):
        check_tested(tmp_path / "test", model)
    write(replace(own, weights="0"))
    with pytest.raises(ValueError, match=r"report\.json is about other weights"):
        check_tested(tmp_path / "test", model)


def test_half_precision_moves_points_a_little(tmp_path):
    model = tiny_model()
    distance, what = half_difference(model, count=2)
    assert 0 < distance < 0.5
    assert what == "2 images of the test data"
    assert half_difference(model.halved(), count=2)[0] == 0
    gone = dict(
        model.config, test_dataloader=dict(dataset=dict(type="LandmarkDataset", ann_file="gone.json"))
    )
    assert half_difference(replace(model, config=gone), count=2)[1] == "2 images of noise"
    steps = [dict(type="LoadImage"), dict(type="ResampleSpacing", spacing=0.3), *model.config["pipeline"][1:]]
    in_mm = replace(model, config=dict(gone, pipeline=steps))
    assert half_difference(in_mm, count=2) == half_difference(replace(model, config=gone), count=2)
    noted = with_half_difference(model).measured["half precision"]
    assert noted["largest_difference"] == pytest.approx(half_difference(model)[0], abs=1e-6)
