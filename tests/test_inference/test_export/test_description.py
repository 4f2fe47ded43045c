"""The description says all that a program needs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.evaluation import Calibration
from mmlandmark.inference.export import ExportableDetector, describe, traced
from mmlandmark.inference.export.description import is_description
from mmlandmark.inference.export.exportable import Traced
from mmlandmark.structures import Prediction
from test_inference.test_export.export_cases import PIPELINE, SIZE, calibration_of, config_of, model_of


def program_of(model):
    return Traced(None, None, (1, *SIZE), ("points", "scores", "spread"))


def test_it_names_landmarks_input_outputs_and_pipeline():
    model = model_of(config_of(count=3), licence="research use")
    about = json.loads(json.dumps(describe(model, program_of(model), file="x.onnx")))
    assert about["landmarks"] == list(model.schema.landmarks)
    assert about["input"]["shape"] == ["batch", 1, *SIZE]
    assert list(about["outputs"]) == ["points", "scores", "spread"]
    assert [step["type"] for step in about["pipeline"]] == [step["type"] for step in PIPELINE]
    assert (about["file"], about["licence"], about["calibration"]) == ("x.onnx", "research use", None)
    assert about["no_calibration"] == "the model has none"


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (dict(), True),
        (dict(precision="float16 weights"), True),
        (dict(precision="int8", loss=dict(mean=0.3)), False),
        (dict(left_out="the choice among several peaks"), False),
    ],
    ids=str,
)
def test_radii_belong_to_a_file_that_does_what_was_calibrated(options, kept):
    model = model_of(config_of(count=3))
    model = replace(model, calibration=calibration_of(model))
    about = describe(model, program_of(model), **options)
    assert (about["calibration"] is not None) == kept
    assert (about["no_calibration"] == "") == kept
    assert about["precision"] == options.get("precision", "float32")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(), "with linear interpolation; outside of the image is black."),
        (dict(border_value=200), "outside of the image is the value 200 of the file."),
        (dict(border="replicate"), "outside of the image is the value of the nearest pixel."),
        (
            dict(border="reflect", interpolation="cubic"),
            "cubic interpolation; outside of the image is its mirror",
        ),
    ],
    ids=str,
)
def test_the_words_follow_the_pipeline(options, words):
    config = config_of(count=3)
    pipeline = [*PIPELINE[:2], dict(type="Resample", **options), PIPELINE[-1]]
    model = model_of(config, config=dict(model=config, pipeline=pipeline))
    assert words in describe(model, program_of(model))["preparation"]


def test_a_description_is_told_from_other_json():
    model = model_of(config_of(count=3))
    assert is_description(json.loads(json.dumps(describe(model, program_of(model)))))
    assert not is_description(dict(images=[], written_by="mmlandmark 1.0"))
    assert not is_description(dict(points_back="", written_by=3))


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


@pytest.mark.slow
def test_outputs_are_those_of_the_program():
    model = model_of(config_of(count=3))
    program = traced(ExportableDetector(model.detector()).eval(), (1, *SIZE))
    assert list(describe(model, program)["outputs"]) == list(program.outputs)
