"""The description says all that a program needs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.evaluation import Calibration
from mmlandmark.inference.export import ExportableDetector, describe, traced
from mmlandmark.inference.export.exportable import Traced
from mmlandmark.structures import Prediction
from test_inference.test_export.export_cases import PIPELINE, SIZE, config_of, model_of


def program_of(model):
    return Traced(None, None, (1, *SIZE), ("points", "scores", "spread"))


def calibration_of(model, **changes):
    names = model.schema.landmarks
    values = dict(
        landmarks=names,
        dims=2,
        unit="mm",
        levels=(0.9,),
        radius_kind="absolute",
        region_kind="absolute",
        scores={"absolute": tuple(np.arange(1.0, 20.0) * (k + 1) for k in range(len(names)))},
    )
    return Calibration(**(values | changes)).to_dict()


def test_it_names_landmarks_input_outputs_and_pipeline():
    model = model_of(config_of(count=3), licence="research use")
    about = json.loads(json.dumps(describe(model, program_of(model), file="x.onnx")))
    assert about["landmarks"] == list(model.schema.landmarks)
    assert about["input"]["shape"] == ["batch", 1, *SIZE]
    assert list(about["outputs"]) == ["points", "scores", "spread"]
    assert [step["type"] for step in about["pipeline"]] == [step["type"] for step in PIPELINE]
    assert (about["file"], about["licence"], about["calibration"]) == ("x.onnx", "research use", None)


@pytest.mark.parametrize("kind", ["absolute", "scaled"])
def test_radii_are_those_of_the_calibration(kind):
    model = model_of(config_of(count=3))
    scores = {kind: tuple(np.arange(1.0, 20.0) * (k + 1) for k in range(3))}
    temperature = np.array([0.5, 1.0, 2.0])
    changes = dict(radius_kind=kind, region_kind=kind, scores=scores, temperature=temperature)
    calibration = calibration_of(model, **changes)
    calibrated = model_of(config_of(count=3), calibration=calibration)
    spread = np.stack([np.diag([4.0, 9.0]) * (k + 1) for k in range(3)])
    pixel = 0.1  # mm
    prediction = Prediction(
        "a", None, SIZE, model.schema, np.zeros((3, 2)), np.ones(3), np.diag([pixel, pixel, 1.0]), spread
    )
    expected = Calibration.from_dict(calibration).apply(prediction).radii[0.9]
    about = describe(calibrated, program_of(calibrated))["calibration"]
    radii = np.array(about["radii"]["0.9"])
    if kind == "scaled":
        assert "sqrt(trace(S) / D)" in about["how"]
        radii = radii * np.sqrt(np.trace(spread * pixel**2, axis1=1, axis2=2) / 2)
    np.testing.assert_allclose(radii, expected)
    assert about["unit"] == "mm"


def test_outputs_are_those_of_the_program():
    model = model_of(config_of(count=3))
    program = traced(ExportableDetector(model.detector()).eval(), (1, *SIZE))
    assert list(describe(model, program)["outputs"]) == list(program.outputs)
