"""A file is kept only if it says what the detector says."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.inference.export import (
    FORMATS,
    ExportableDetector,
    ExportError,
    export_model,
    exporting,
    traced,
)
from test_inference.test_export.export_cases import (
    SIZE,
    calibration_of,
    config_of,
    model_of,
    phantom_files,
    trained_model,
)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    phantom_files(folder, count=8)
    return folder


@pytest.fixture(scope="module")
def small_and_program():
    """Return a detector that says presence as well, and its program."""
    model = model_of(config_of(head=dict(config_of()["head"], presence=dict())))
    return model, traced(ExportableDetector(model.detector(), model.schema.flip_pairs).eval(), (1, *SIZE))


@pytest.fixture
def small(small_and_program, monkeypatch):
    """Return a detector whose export need not trace it anew."""
    model, program = small_and_program
    monkeypatch.setattr(exporting, "traced", lambda module, shape: program._replace(module=module))
    return model


def needs(name, int8=False):
    for package in (*FORMATS[name].packages, *(FORMATS[name].quantizer or () if int8 else ())):
        pytest.importorskip(package, reason="an optional package of mmlandmark[export]")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "half", "precision"), [("onnx", False, "float32"), ("openvino", True, "float16 weights")]
)
def test_a_file_and_its_description_are_written(name, half, precision, films, tmp_path):
    needs(name)
    model = trained_model()
    path = tmp_path / f"detector{FORMATS[name].suffix}"
    made = export_model(model, path, name, half=half, images=[films], limit=5)
    assert made.check.median < 1e-3
    assert made.check.images == 8
    assert (made.loss is not None) == half
    assert not half or made.loss.median > made.check.median
    assert {p.name for p in tmp_path.iterdir()} == {
        *(file.name for file in FORMATS[name].files(path)),
        f"{path.name}.json",
    }
    about = json.loads(made.description.read_text())
    assert (about["format"], about["precision"]) == (name, precision)
    assert about["check"]["median"] == made.check.median
    assert set(FORMATS[name].load(path)(np.zeros((2, 1, *SIZE), np.float32))) == set(about["outputs"])


@pytest.mark.slow
def test_int8_is_checked_with_images_that_its_ranges_do_not_come_from(films, tmp_path):
    needs("onnx", int8=True)
    model = trained_model()
    made = export_model(model, tmp_path / "x.onnx", "onnx", int8=True, images=[films], limit=20)
    assert made.loss.images == 4
    assert 1e-3 < made.loss.median < 0.5
    assert made.precision == "int8"
    with pytest.raises(ExportError, match=r"rounding costs too much, .* must not be above 0.0001 px"):
        export_model(model, tmp_path / "y.onnx", "onnx", int8=True, images=[films], limit=1e-4)
    assert {p.name for p in tmp_path.iterdir()} == {"x.onnx", "x.onnx.json"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "change", "reason"),
    [
        ("points", lambda value: value + 0.01, "median must be below 0.001, high must be below 0.01"),
        (
            "points",
            lambda value: value + 3 * (np.arange(value.shape[1]) == 4)[:, None],
            "high must be below 0.01",
        ),
        ("scores", lambda value: value + 0.01, "scores must be below 0.001"),
        ("spread", lambda value: value * 1.5, "spread must be below 0.01"),
        ("presence", lambda value: 1 - value, "presence must be below 0.001"),
        ("scores", lambda value: value * np.nan, "unlike must be 0"),
    ],
    ids=["points", "one landmark", "scores", "spread", "presence", "NaN"],
)
def test_a_file_that_says_something_else_is_not_left_behind(
    output, change, reason, small, monkeypatch, tmp_path
):
    load = type(FORMATS["torch-export"]).load

    def wrong(self, path, threads=0):
        run = load(self, path, threads)

        def changed(images):
            said = run(images)
            return {**said, output: change(said[output]).astype(np.float32)}

        return changed

    monkeypatch.setattr(type(FORMATS["torch-export"]), "load", wrong)
    before = tmp_path / "x.pt2"
    before.write_bytes(b"of an earlier export")
    with pytest.raises(
        ExportError, match=r"x.pt2 was not written: it does not say what PyTorch says"
    ) as error:
        export_model(small, before, "torch-export")
    assert str(error.value).endswith(f"({reason})")
    assert list(tmp_path.iterdir()) == [before]
    assert before.read_bytes() == b"of an earlier export"


@pytest.mark.slow
def test_a_file_of_somebody_else_is_not_replaced(small, tmp_path):
    other = tmp_path / "x.pt2.json"
    for text in ('{"images": []}', "no JSON"):
        other.write_text(text)
        with pytest.raises(ExportError, match=r"x.pt2.json is not of an earlier export of x.pt2"):
            export_model(small, tmp_path / "x.pt2", "torch-export")
        assert other.read_text() == text
    assert list(tmp_path.iterdir()) == [other]
    other.unlink()
    (tmp_path / "x.json").write_text("annotations")
    for _ in range(2):  # the second one replaces what the first one has written
        export_model(small, tmp_path / "x.pt2", "torch-export")
    assert (tmp_path / "x.json").read_text() == "annotations"


def test_weights_of_somebody_else_are_not_replaced(tmp_path):
    needs("openvino")
    other = tmp_path / "x.bin"
    other.write_bytes(b"measurements")
    with pytest.raises(ExportError, match=r"x.bin is not of an earlier export of x.xml"):
        export_model(model_of(config_of()), tmp_path / "x.xml", "openvino")
    assert list(tmp_path.iterdir()) == [other]
    assert other.read_bytes() == b"measurements"


@pytest.mark.parametrize("steps", range(7))
def test_a_kill_leaves_no_file_beside_one_of_an_earlier_export(steps, monkeypatch, tmp_path):
    """After any number of steps: a description has its files, a graph its weights, of one export."""
    names = ("x.bin", "x.xml", "x.xml.json")
    work = tmp_path / "work"
    work.mkdir()
    for folder, text in ((tmp_path, "old"), (work, "new")):
        for name in names:
            (folder / name).write_text(text)
    left = iter(range(steps))

    def counted(function):
        def step(*args, **kwargs):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return step

    monkeypatch.setattr(exporting.os, "replace", counted(exporting.os.replace))
    monkeypatch.setattr(exporting.Path, "unlink", counted(exporting.Path.unlink))
    with contextlib.nullcontext() if steps == 6 else pytest.raises(KeyboardInterrupt):
        exporting._publish([work / name for name in names], tmp_path)
    there = [(tmp_path / name).read_text() if (tmp_path / name).exists() else None for name in names]
    weights, graph, description = there
    assert description is None or there == [description] * 3
    assert graph is None or graph == weights
    if steps == 6:
        assert there == ["new"] * 3


def test_wrong_requests_are_named_before_any_work(tmp_path):
    model = model_of(config_of())
    with pytest.raises(ExportError, match="choose one of half and int8"):
        export_model(model, tmp_path / "x.onnx", half=True, int8=True)
    with pytest.raises(ExportError, match=r"x.onnx: a file of format torch-export ends with .pt2"):
        export_model(model, tmp_path / "x.onnx", "torch-export")
    needs("onnx")
    with pytest.raises(ExportError, match=r"int8 needs at least 8 images .*, got 0"):
        export_model(model, tmp_path / "x.onnx", int8=True)
    paths = phantom_files(tmp_path / "films", count=2)
    with pytest.raises(ExportError, match=r"int8 needs at least 8 images .*, got 2"):
        export_model(model, tmp_path / "x.onnx", int8=True, images=paths)


@pytest.mark.slow
def test_a_choice_that_is_left_out_is_said(tmp_path):
    model = model_of(config_of(test_cfg=dict(shape_prior=dict())))
    model = replace(model, calibration=calibration_of(model))
    made = export_model(model, tmp_path / "x.pt2", "torch-export")
    assert "test_cfg.shape_prior" in made.left_out
    about = json.loads(made.description.read_text())
    assert about["left_out"] == made.left_out
    assert about["calibration"] is None
    assert made.left_out in about["no_calibration"]
