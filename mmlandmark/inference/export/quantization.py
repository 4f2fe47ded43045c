"""Convolutions in 8-bit integers; the last ones, and what decodes their maps, stay in floating point.

A position between the pixels hangs on small differences of the finest maps, for which 256 steps are too few.
On the other hand most of the work lies in the layers before.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmlandmark.inference.export.exportable import ExportError
from mmlandmark.inference.export.formats import INPUT

# Convolutions that stay in floating point, counted from the output: the head, and a level of a decoder.
FLOAT_KERNELS = 3
_ONNX_KERNELS = ("Conv", "ConvTranspose")
# With these the range of a convolution is what its activation lets through, not what comes before it.
_ONNX_ACTIVATIONS = ("Relu", "Clip")
_OPENVINO_KERNELS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData")


class Node(NamedTuple):
    """An operation of a graph.

    Attributes:
        name: Unique in the graph.
        is_kernel: Whether it is a convolution.
        users: Names of the operations that read what it returns.
    """

    name: str
    is_kernel: bool
    users: tuple[str, ...]


def kept_in_float(nodes: Sequence[Node], what: str) -> list[str]:
    """Return the names of the operations that stay in floating point.

    These are the convolutions from which no path to an output passes over more than three, themselves
    included, and what lies behind them.

    Args:
        nodes: Of the whole graph, in an order in which each comes before its users.
        what: Name of the file, for errors.

    Raises:
        ExportError: All convolutions are among them, so that there is nothing to quantise.
    """
    kernels_to_come: dict[str, int] = {}
    for node in reversed(nodes):
        behind = max((kernels_to_come.get(user, 0) for user in node.users), default=0)
        kernels_to_come[node.name] = behind + node.is_kernel
    limits = {node.name: FLOAT_KERNELS if node.is_kernel else FLOAT_KERNELS - 1 for node in nodes}
    kept = {name for name, limit in limits.items() if kernels_to_come[name] <= limit}
    kernels = [node.name for node in nodes if node.is_kernel]
    if kept.issuperset(kernels):
        raise ExportError(
            f"{what}: there is nothing to quantise, the last {FLOAT_KERNELS} convolutions stay in floating "
            f"point and there are {len(kernels)}"
        )
    return [node.name for node in nodes if node.name in kept]


def quantize(format: str, path: Path, target: Path, images: Sequence[np.ndarray]) -> None:
    """Write a copy of an exported file with convolutions in 8 bits.

    Args:
        format: One of :data:`QUANTIZERS`.
        path: The file in floating point.
        target: The new file.
        images: (C, *S) each: from what they excite, ranges of values are taken.

    Raises:
        ExportError: There is nothing to quantise.
    """
    QUANTIZERS[format](path, target, [image[None] for image in images])


def _quantize_onnx(path: Path, target: Path, images: Sequence[np.ndarray]) -> None:
    """Use static quantisation of ONNX Runtime."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """Hands out the images one by one."""

        def __init__(self) -> None:
            self.rest = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.rest, None)
            return None if image is None else {INPUT: image}

    nodes = onnx.load(path).graph.node
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node.name)
    graph = [
        Node(n.name, n.op_type in _ONNX_KERNELS, tuple(r for t in n.output for r in readers.get(t, ())))
        for n in nodes
    ]
    kept = kept_in_float(graph, path.name)
    with _silent():
        quantize_static(
            path,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*_ONNX_KERNELS, *_ONNX_ACTIVATIONS],
            nodes_to_exclude=kept,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Seven bits: with eight, sums of products overflow on x86 processors without VNNI instructions.
            reduce_range=True,
        )


def _quantize_openvino(path: Path, target: Path, images: Sequence[np.ndarray]) -> None:
    """Use post-training quantisation of NNCF."""
    import openvino

    with _silent():
        nncf = _nncf()
        model = openvino.Core().read_model(path)
        graph = [_openvino_node(operation) for operation in model.get_ordered_ops()]
        # Left to itself NNCF also quantises sums and what is joined, such as the finest level of a U-Net.
        others = {node.name for node in graph if not node.is_kernel} | set(kept_in_float(graph, path.name))
        quantized = nncf.quantize(
            model,
            nncf.Dataset(list(images)),
            preset=nncf.QuantizationPreset.MIXED,  # the ranges of activations need not be symmetric
            subset_size=len(images),
            fast_bias_correction=True,
            ignored_scope=nncf.IgnoredScope(names=sorted(others), validate=False),
        )
    openvino.save_model(quantized, target, compress_to_fp16=False)


def _openvino_node(operation: Any) -> Node:
    users = [
        reader.get_node().get_friendly_name()
        for output in operation.outputs()
        for reader in output.get_target_inputs()
    ]
    kind = operation.get_type_name()
    return Node(operation.get_friendly_name(), kind in _OPENVINO_KERNELS, tuple(users))


def _nncf() -> Any:
    """Import NNCF so that it does not tell its maker over the network that it is used."""
    key = "NNCF_CI"  # read when it is imported
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        import nncf
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before
    return nncf


@contextmanager
def _silent() -> Iterator[None]:
    """Keep advice and progress bars of the quantisers off the console."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


QUANTIZERS: Mapping[str, Callable[[Path, Path, Sequence[np.ndarray]], None]] = {
    "onnx": _quantize_onnx,
    "openvino": _quantize_openvino,
}
