"""All landmarks against one, and one model against one per landmark."""

from __future__ import annotations

import json

import pytest
from mmengine.config import Config

from mmlandmark.testing import landmark_costs

MODEL = dict(
    type="TemplateDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1),
    backbone=dict(type="UNet", in_channels=1, widths=(4, 5, 6), out_indices=(0, 1, 2)),
    neck=dict(type="AdapterDecoder", adapter_channels=3, embedding=2, receptive_fields=1),
    head=dict(
        type="TemplateHead",
        num_landmarks=4,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax"),
    ),
    patches=dict(around="landmarks"),
)


@pytest.mark.slow
def test_ratios_memory_and_parameters_are_recorded(tmp_path, capsys, monkeypatch):
    measured = landmark_costs.measured_peak

    def here(given, way):
        if way == landmark_costs.ENCODER:
            return measured(given, way)
        landmark_costs.main([*given, "--peak-of", way])
        return int(capsys.readouterr().out)

    monkeypatch.setattr(landmark_costs, "measured_peak", here)  # one process is enough
    Config(dict(model=MODEL)).dump(tmp_path / "own.py")
    record = tmp_path / "costs.json"
    landmark_costs.main([str(tmp_path / "own.py"), str(record), "--size", "32", "24", "--rounds", "3"])
    made = json.loads(record.read_text())
    assert (made["config"], made["size"], made["rounds"]) == ("own", [32, 24], 3)
    assert {"cpu", "cores", "gpu"} <= set(made["machine"])
    names = ["1, published", "4, published", "1, independent", "4, independent", "encoder alone"]
    assert list(made["ways"]) == names
    assert [made["ways"][name]["times_one"] is not None for name in names] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert all(row["seconds"] > 0 and row["peak_gigabytes"] >= 0 for row in made["ways"].values())
    counts = made["parameters"]
    assert counts["one model, independent"] < counts["one model, published"]
    assert counts["one model, published"] < counts["a model of each, one encoder"] < counts["a model of each"]
    assert "4, independent" in capsys.readouterr().out


def test_ratios_are_those_of_the_same_turn():
    seconds = {"1, a": [1.0, 10.0, 2.0], "4, a": [2.0, 30.0, 5.0], "encoder alone": [1.0, 1.0, 1.0]}
    rows = landmark_costs.rows_of(seconds, {"4, a": 2**30, "1, a": None})
    assert rows["4, a"] == dict(seconds=5.0, times_one=2.5, peak_gigabytes=1.0)
    assert rows["1, a"] == dict(seconds=2.0, times_one=None, peak_gigabytes=None)


def test_a_detector_without_such_parts_is_refused():
    plain = Config(dict(model=dict(MODEL, neck=dict(MODEL["neck"], adapter_channels=0))))
    with pytest.raises(ValueError, match="AdapterDecoder has no part of each landmark"):
        landmark_costs.detector_of(plain, 4, False, 2)
