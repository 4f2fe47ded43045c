"""The program in docs/ that runs an exported detector without this package says what ``predict`` says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlandmark.inference import LandmarkInferencer
from mmlandmark.inference.export import describe, export_model
from mmlandmark.inference.export.exportable import Traced
from test_inference.test_export.export_cases import (
    PIPELINE,
    PREPROCESSOR,
    SIZE,
    UNET,
    config_of,
    model_of,
    phantom_files,
    trained_model,
)

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "run_onnx.py"
ALONE = (
    "import runpy, sys; sys.modules['mmlandmark'] = sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
)
ALONE += "runpy.run_path(sys.argv[0], run_name='__main__')"

pytestmark = [
    pytest.mark.skipif(
        any(__import__("importlib.util").util.find_spec(p) is None for p in ("onnxscript", "onnxruntime")),
        reason="onnxscript and onnxruntime of mmlandmark[export] are missing",
    )
]


def films(folder, colour=False):
    """Write a film as several kinds of file, and return them."""
    (path,) = phantom_files(folder, 1, size=(401, 330))
    film = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if colour:
        film = np.stack([film, film // 2, 255 - film // 3], -1)
    written = {
        "8bit.png": film,
        "16bit.png": film.astype(np.uint16) * 257 - 3 * (film.astype(np.uint16) // 2),
        "large.jpg": film,
        "small.png": film[::5, ::6],  # smaller than the size that it is loaded at along one axis only
    }
    path.unlink()
    for name, image in written.items():
        assert cv2.imwrite(str(folder / name), np.ascontiguousarray(image))
    return [folder / name for name in written]


def said_by_the_program(model, paths):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(SCRIPT), str(model), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    values = np.array([[float(v) for v in row[2:]] for row in rows]).reshape(len(paths), -1, 3)
    return [row[1] for row in rows[: values.shape[1]]], values


def compare(model, paths, tmp_path):
    made = export_model(model, tmp_path / "x.onnx")
    names, values = said_by_the_program(made.path, paths)
    assert names == list(model.schema.landmarks)
    for prediction, row in zip(LandmarkInferencer(model)(paths), values, strict=True):
        assert prediction.found.any()
        np.testing.assert_array_equal(prediction.found, np.isfinite(row[:, :2]).all(axis=1))
        distances = np.linalg.norm(prediction.points - row[:, :2], axis=1)
        assert distances[prediction.found].max() < 0.01, prediction.sample_id
        np.testing.assert_allclose(prediction.scores, row[:, 2], atol=1e-3)


def test_points_of_all_kinds_of_film_are_those_of_predict(tmp_path):
    compare(trained_model(), films(tmp_path / "films"), tmp_path)


def test_aspect_colour_and_bits_are_kept(tmp_path):
    config = config_of(
        count=4, data_preprocessor=dict(PREPROCESSOR, channels=3), backbone=dict(UNET, in_channels=3)
    )
    pipeline = [
        dict(type="LoadImage", size=[96, 96], keep_aspect=True, bits=12),
        dict(type="Resize", size=SIZE, keep_aspect=True),
        *PIPELINE[2:],
    ]
    model = model_of(config, config=dict(model=config, pipeline=pipeline))
    compare(model, films(tmp_path / "films", colour=True), tmp_path)


def test_a_pipeline_that_it_does_not_know_is_refused(tmp_path):
    config = config_of(count=4)
    pipeline = [PIPELINE[0], dict(type="CLAHE"), *PIPELINE[1:]]
    model = model_of(config, config=dict(model=config, pipeline=pipeline))
    about = describe(model, Traced(None, None, (1, *SIZE), ("points", "scores")))
    (tmp_path / "x.json").write_text(json.dumps(about))
    command = [sys.executable, str(SCRIPT), str(tmp_path / "x.onnx")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the detector wants ['LoadImage', 'CLAHE', 'Resize', 'Resample', 'PackInputs']" in done.stderr
