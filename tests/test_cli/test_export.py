"""``mmlandmark export``."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmlandmark.cli.entry import invoke, make_parser
from mmlandmark.inference.export import exporting
from mmlandmark.testing import tiny_model
from test_inference.test_export.export_cases import calibration_of, config_of, model_of


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "tiny.mml.pth"
    tiny_model().save(path)
    return path


@pytest.mark.slow
def test_a_model_file_becomes_a_program_and_the_check_is_printed(packed, tmp_path, capsys):
    target = tmp_path / "tiny.pt2"
    assert invoke("export", [str(packed), "-o", str(target)]) is None
    said = capsys.readouterr().out
    assert f"{target}: torch-export, float32, " in said
    assert "against PyTorch: points of 6 images differ by 0 px in the median" in said
    about = json.loads((tmp_path / "tiny.pt2.json").read_text())
    assert about["name"] == "untrained"
    assert about["landmarks"][0] == "sella"


@pytest.mark.slow
def test_radii_that_a_file_does_not_have_are_named(tmp_path, capsys):
    model = model_of(config_of(test_cfg=dict(shape_prior=dict())))
    replace(model, calibration=calibration_of(model)).save(tmp_path / "sure.mml.pth")
    invoke("export", [str(tmp_path / "sure.mml.pth"), "-o", str(tmp_path / "sure.pt2")])
    said = capsys.readouterr().out
    assert "not in the file: the choice among several peaks" in said
    assert (
        "no calibration in the description: the radii were measured with a step that is not in the file"
        in said
    )


def test_the_limit_in_the_help_is_the_one_that_holds():
    assert make_parser("export").get_default("limit") == exporting.LIMIT


def test_the_suffix_decides_about_the_format(packed, tmp_path):
    with pytest.raises(ValueError, match=r"x.tflite: the name must end with one of .onnx, .xml, .pt2"):
        invoke("export", [str(packed), "-o", str(tmp_path / "x.tflite")])
    with pytest.raises(ValueError, match=r"a file of format torch-export ends with .pt2"):
        invoke("export", [str(packed), "-o", str(tmp_path / "x.onnx"), "--format", "torch-export"])
