"""Networks in 8-bit integers: what stays in floating point, and what rounding costs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from mmlandmark.inference.export import FORMATS, ExportableDetector, ExportError, traced
from mmlandmark.inference.export.example_images import made_images
from mmlandmark.inference.export.quantization import QUANTIZERS, Node, kept_in_float, quantize
from test_inference.test_export.export_cases import SIZE, trained_model


def test_the_last_three_convolutions_of_every_member_stay():
    chain = [Node(f"a{i}", True, (f"a{i + 1}",)) for i in range(4)]
    member = [Node(f"b{i}", True, (f"b{i + 1}",)) for i in range(4)]
    rest = [Node("a4", True, ("relu",)), Node("b4", True, ("relu",)), Node("relu", False, ())]
    assert kept_in_float([*chain, *member, *rest], "x") == ["a2", "a3", "b2", "b3", "a4", "b4", "relu"]


def test_a_branch_counts_by_its_longest_way():
    nodes = [Node("early", True, ("c1", "join")), Node("c1", True, ("c2",)), Node("c2", True, ("c3",))]
    nodes += [Node("c3", True, ("join",)), Node("join", False, ())]
    assert kept_in_float(nodes, "x") == ["c1", "c2", "c3", "join"]


def test_an_activation_stays_with_the_convolution_before_it():
    nodes = [Node(f"c{i}", True, (f"relu{i}",)) for i in range(4)]
    nodes = [n for i in range(4) for n in (nodes[i], Node(f"relu{i}", False, (f"c{i + 1}",) * (i < 3)))]
    assert kept_in_float(nodes, "x") == ["c1", "relu1", "c2", "relu2", "c3", "relu3"]


def test_a_network_of_three_layers_has_nothing_to_quantise():
    nodes = [Node("a", True, ("b",)), Node("b", True, ())]
    with pytest.raises(ExportError, match=r"x.onnx: there is nothing to quantise, .* there are 2"):
        kept_in_float(nodes, "x.onnx")


@pytest.fixture(scope="module")
def program():
    torch.set_num_threads(1)
    return traced(ExportableDetector(trained_model().detector()).eval(), (1, *SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_quantised_file_is_smaller_and_points_stay(name, program, tmp_path, capfd):
    for package in (*FORMATS[name].packages, *FORMATS[name].quantizer):
        pytest.importorskip(package, reason="an optional package of mmlandmark[export]")
    images = made_images(trained_model(), (1, *SIZE))
    path, target = (tmp_path / f"{stem}{FORMATS[name].suffix}" for stem in ("full", "small"))
    FORMATS[name].write(program, path)
    capfd.readouterr()
    quantize(name, path, target, images)
    assert capfd.readouterr() == ("", "")
    said = [FORMATS[name].load(p, threads=1)(np.stack(images))["points"] for p in (path, target)]
    distances = np.linalg.norm(said[0] - said[1], axis=-1)
    assert 1e-4 < np.median(distances) < 0.3  # rounded, but not lost
    weights = [FORMATS[name].files(p)[0] for p in (path, target)]
    if name == "openvino":
        assert weights[1].stat().st_size < 0.6 * weights[0].stat().st_size
    else:
        import onnx

        kinds = Counter(value.data_type for value in onnx.load(target).graph.initializer)
        assert kinds[onnx.TensorProto.INT8] >= 4
