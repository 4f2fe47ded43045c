"""Files in every format run without mmlandmark, and what is missing is named."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmlandmark.inference.export import FORMATS, ExportableDetector, ExportError, difference, traced
from mmlandmark.inference.export import formats as module
from mmlandmark.inference.export.example_images import made_images
from mmlandmark.inference.export.formats import check_packages, in_pytorch, onnx_model
from mmlandmark.registry import MODELS
from test_inference.test_export.export_cases import SIZE, trained_model
from test_inference.test_export.test_exportable import CASES

RUN_ALONE = """
import sys, numpy as np, torch
sys.modules["mmlandmark"] = sys.modules["mmengine"] = None  # an import of either fails
run = torch.export.load(sys.argv[1]).module()
points = run(torch.from_numpy(np.load(sys.argv[2])))["points"]
np.save(sys.argv[3], points.numpy())
"""


@pytest.fixture(scope="module")
def program():
    torch.set_num_threads(1)
    return traced(ExportableDetector(trained_model("dark").detector()).eval(), (1, *SIZE))


@pytest.fixture(scope="module")
def images():
    return np.stack(made_images(trained_model("dark"), (1, *SIZE))[:3])


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_says_what_the_detector_says_for_any_number_of_images(name, program, images, tmp_path):
    for package in FORMATS[name].packages:
        pytest.importorskip(package, reason="an optional package of mmlandmark[export]")
    path = tmp_path / f"x{FORMATS[name].suffix}"
    FORMATS[name].write(program, path)
    assert sorted(tmp_path.iterdir()) == sorted(FORMATS[name].files(path))
    run = FORMATS[name].load(path, threads=1)
    for count in (1, 3):
        found = difference(run(images[:count]), in_pytorch(program.module)(images[:count]))
        assert found.median < 1e-3
        assert found.high < 1e-2  # ONNX Runtime moved one point in a hundred by pixels
        assert found.scores < 1e-4
    assert set(run(images)) == {"points", "scores", "spread"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_the_median_of_several_detectors_is_inside(name, tmp_path):
    for package in FORMATS[name].packages:
        pytest.importorskip(package, reason="an optional package of mmlandmark[export]")
    torch.manual_seed(0)
    config, size = CASES["median of three"]
    program = traced(ExportableDetector(MODELS.build(config)).eval(), size)
    path = tmp_path / f"x{FORMATS[name].suffix}"
    FORMATS[name].write(program, path)
    images = np.random.default_rng(0).random((2, *size), dtype=np.float32)
    found = FORMATS[name].load(path, threads=1)(images)["points"]
    np.testing.assert_allclose(found, in_pytorch(program.module)(images)["points"], atol=1e-2)


@pytest.mark.slow
def test_a_program_of_torch_runs_without_this_package(program, images, tmp_path):
    path = tmp_path / "x.pt2"
    FORMATS["torch-export"].write(program, path)
    np.save(tmp_path / "images.npy", images)
    files = [str(tmp_path / name) for name in ("x.pt2", "images.npy", "points.npy")]
    subprocess.run([sys.executable, "-c", RUN_ALONE, *files], check=True, cwd=tmp_path)
    expected = in_pytorch(program.module)(images)["points"]
    np.testing.assert_allclose(np.load(tmp_path / "points.npy"), expected, atol=1e-4)


@pytest.mark.slow
def test_the_batch_of_an_onnx_file_has_a_name_and_the_exporter_is_quiet(program, capfd):
    pytest.importorskip("onnxscript", reason="an optional package of mmlandmark[export]")
    graph = onnx_model(program).graph
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        1,
        *SIZE,
    ]
    assert [value.name for value in graph.output] == ["points", "scores", "spread"]
    assert capfd.readouterr() == ("", "")


def test_missing_packages_name_the_extra(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        module.importlib.util, "find_spec", lambda name: None if name == "nncf" else found(name)
    )
    with pytest.raises(
        ImportError, match=r"openvino with int8 needs .*nncf: pip install 'mmlandmark\[export\]'"
    ):
        check_packages("openvino", int8=True)
    check_packages("torch-export")
    with pytest.raises(ExportError, match="torch-export has no int8: choose one of onnx, openvino"):
        check_packages("torch-export", int8=True)
    with pytest.raises(
        ExportError, match="unknown format 'tflite': choose one of onnx, openvino, torch-export"
    ):
        check_packages("tflite")
