"""The program in docs/ that runs an exported detector without this package says what ``predict`` says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlandmark.inference import LandmarkInferencer
from mmlandmark.inference.export import describe, export_model
from mmlandmark.inference.export.exportable import Traced
from mmlandmark.planning.rules import choose_border
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


def run_program(model, paths):
    command = [sys.executable, "-c", ALONE, str(SCRIPT), str(model), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True)


def said_by_the_program(model, paths):
    done = run_program(model, paths)
    assert (done.returncode, done.stderr) == (0, "")
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


def with_orientation(path, orientation, order="II"):
    """Write a JPEG with an Exif orientation beside a JPEG, and return it."""
    entry = (
        dict(
            II=b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00%c\x00\x00\x00",
            MM=b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00%c\x00\x00",
        )[order]
        % orientation
    )
    content, data = b"Exif\x00\x00" + entry + bytes(4), path.read_bytes()
    turned = path.with_name(f"{path.stem}{order}{orientation}.jpg")
    turned.write_bytes(data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + data[2:])
    return turned


@pytest.mark.slow
def test_points_of_all_kinds_of_film_are_those_of_predict(tmp_path):
    paths = films(tmp_path / "films")
    large = tmp_path / "films" / "large.jpg"  # is decoded at reduced scale
    small = tmp_path / "films" / "small.jpg"
    cv2.imwrite(str(small), cv2.resize(cv2.imread(str(large), cv2.IMREAD_GRAYSCALE), (96, 150)))
    for film in (large, small):
        paths += [with_orientation(film, orientation) for orientation in range(2, 9)]
        paths += [with_orientation(film, 6, "MM")]
        assert cv2.imread(str(paths[-1])).shape[:2] == cv2.imread(str(film)).shape[1::-1]
    compare(trained_model(), paths, tmp_path)


@pytest.mark.slow
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


def model_with(pipeline, **changes):
    config = config_of(count=4, **changes)
    return model_of(config, config=dict(model=config, pipeline=pipeline))


@pytest.mark.slow
def test_bright_films_of_any_proportion_as_a_plan_prepares_them(tmp_path):
    fit = dict(keep_aspect=True)
    pipeline = [
        dict(type="LoadImage", size=(96, 72), **fit, channels=1),
        dict(type="Resize", size=SIZE, **fit),
        dict(type="Resample", border=choose_border(0.9).value),
        PIPELINE[-1],
    ]
    folder = tmp_path / "films"
    (path,) = phantom_files(folder, 1, size=(330, 520))
    film = 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    bright = np.stack([film, 128 + film // 2, film], -1)
    paths = [folder / "wide.jpg", folder / "tall.png"]
    for file, image in zip(paths, (bright, bright.transpose(1, 0, 2)[:, :90]), strict=True):
        cv2.imwrite(str(file), np.ascontiguousarray(image))
    trained = trained_model()
    compare(replace(trained, config=dict(trained.config, pipeline=pipeline)), paths, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [dict(border="reflect"), dict(border_value=200), dict(interpolation="cubic")], ids=str
)
def test_an_input_of_less_than_half_the_loaded_size(options, tmp_path):
    pipeline = [
        dict(type="LoadImage", size=(250, 230)),
        dict(type="Resize", size=SIZE, keep_aspect=True),
        dict(type="Resample", **options),
        PIPELINE[-1],
    ]
    compare(model_with(pipeline), films(tmp_path / "films"), tmp_path)


def said_of(model, tmp_path):
    """Return how the program ends that gets the description of a model, and no file of its network."""
    about = describe(model, Traced(None, None, (1, *SIZE), ("points", "scores")))
    (tmp_path / "x.onnx.json").write_text(json.dumps(about))
    return run_program(tmp_path / "x.onnx", [])


def test_a_pipeline_that_it_does_not_know_is_refused(tmp_path):
    done = said_of(model_with([PIPELINE[0], dict(type="CLAHE"), *PIPELINE[1:]]), tmp_path)
    assert done.returncode == 1
    assert "the detector wants ['LoadImage', 'CLAHE', 'Resize', 'Resample', 'PackInputs']" in done.stderr


def test_an_option_that_it_does_not_know_is_refused(tmp_path):
    pipeline = [*PIPELINE[:2], dict(type="Resample", border="replicate", sharpen=2), PIPELINE[-1]]
    done = said_of(model_with(pipeline), tmp_path)
    assert done.returncode == 1
    assert done.stderr == "this program does not know what Resample does with sharpen\n"


@pytest.mark.slow
def test_a_broken_image_is_named_and_the_others_are_read(tmp_path):
    good, *_ = films(tmp_path / "films")
    broken = tmp_path / "films" / "broken.png"
    broken.write_bytes(good.read_bytes()[:200])
    cut = tmp_path / "films" / "cut.jpg"
    cut.write_bytes((tmp_path / "films" / "large.jpg").read_bytes()[:2000])
    text = tmp_path / "films" / "notes.txt"
    text.write_text("no image")
    missing = tmp_path / "films" / "missing.png"
    made = export_model(model_with(PIPELINE), tmp_path / "x.onnx")
    bad = [broken, cut, text, missing]
    done = run_program(made.path, [*bad, good])
    assert done.returncode == 1
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == {str(good)}
    reasons = ["is broken"] * 2 + ["PNG, JPEG and BMP", "No such file"]
    for path, reason in zip(bad, reasons, strict=True):
        assert any(str(path) in line and reason in line for line in done.stderr.splitlines())
    assert "Traceback" not in done.stderr
