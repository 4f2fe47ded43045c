"""A file is kept only if it says what the detector says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.inference.export import FORMATS, ExportError, export_model
from test_inference.test_export.export_cases import SIZE, config_of, model_of, phantom_files, trained_model


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    phantom_files(folder, count=8)
    return folder


def needs(name, int8=False):
    for package in (*FORMATS[name].packages, *(FORMATS[name].quantizer or () if int8 else ())):
        pytest.importorskip(package, reason="an optional package of mmlandmark[export]")


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
        "detector.json",
    }
    about = json.loads(made.description.read_text())
    assert (about["format"], about["precision"]) == (name, precision)
    assert about["check"]["median"] == made.check.median
    assert set(FORMATS[name].load(path)(np.zeros((2, 1, *SIZE), np.float32))) == set(about["outputs"])


def test_int8_is_checked_with_images_that_its_ranges_do_not_come_from(films, tmp_path):
    needs("onnx", int8=True)
    model = trained_model()
    made = export_model(model, tmp_path / "x.onnx", "onnx", int8=True, images=[films], limit=20)
    assert made.loss.images == 4
    assert 1e-3 < made.loss.median < 0.5
    assert made.precision == "int8"
    with pytest.raises(ExportError, match=r"rounding costs too much, .* must not be above 0.0001 px"):
        export_model(model, tmp_path / "y.onnx", "onnx", int8=True, images=[films], limit=1e-4)
    assert {p.name for p in tmp_path.iterdir()} == {"x.onnx", "x.json"}


def test_a_file_that_says_something_else_is_not_left_behind(monkeypatch, tmp_path):
    load = type(FORMATS["torch-export"]).load

    def wrong(self, path, threads=0):
        run = load(self, path, threads)
        return lambda images: {name: value + 0.01 for name, value in run(images).items()}

    monkeypatch.setattr(type(FORMATS["torch-export"]), "load", wrong)
    before = tmp_path / "x.pt2"
    before.write_bytes(b"of an earlier export")
    with pytest.raises(
        ExportError, match=r"x.pt2 was not written: it does not say what PyTorch says, .* 0.001 px"
    ):
        export_model(model_of(config_of()), before, "torch-export")
    assert list(tmp_path.iterdir()) == [before]
    assert before.read_bytes() == b"of an earlier export"


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


def test_a_choice_that_is_left_out_is_said(tmp_path):
    config = config_of(test_cfg=dict(shape_prior=dict()))
    made = export_model(model_of(config), tmp_path / "x.pt2", "torch-export")
    assert "test_cfg.shape_prior" in made.left_out
    assert json.loads(made.description.read_text())["left_out"] == made.left_out
