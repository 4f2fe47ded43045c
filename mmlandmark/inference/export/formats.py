"""File formats of exported detectors: how each is written, and run again."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmlandmark.inference.export.exportable import ExportError, Traced
from mmlandmark.ops.backend import using_reference

# From images (B, C, *S) to outputs by name.
Run = Callable[[np.ndarray], dict[str, np.ndarray]]
INPUT = "images"


class ExportFormat(ABC):
    """One format.

    Attributes:
        suffix: Of its files.
        packages: What writing and running it needs beside PyTorch.
        quantizer: Packages that its int8 version needs as well; None where there is none.
    """

    suffix: str
    packages: tuple[str, ...] = ()
    quantizer: tuple[str, ...] | None = None

    @abstractmethod
    def write(self, traced: Traced, path: Path) -> None:
        """Write a traced detector to ``path``."""

    @abstractmethod
    def load(self, path: Path, threads: int = 0) -> Run:
        """Return a function that runs a file; ``threads`` 0 leaves their number to the program."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the files that :meth:`write` makes for ``path``, the one to be named last."""
        return (path,)


class TorchExportFormat(ExportFormat):
    """``torch.export``: runs in PyTorch alone, from Python or C++."""

    suffix = ".pt2"

    def write(self, traced: Traced, path: Path) -> None:
        """Write the program."""
        with _quiet():
            torch.export.save(traced.program, path)

    def load(self, path: Path, threads: int = 0) -> Run:
        """Return the program; threads are those of PyTorch."""
        module = torch.export.load(path).module()

        def run(images: np.ndarray) -> dict[str, np.ndarray]:
            with torch.inference_mode():
                return {name: value.numpy() for name, value in module(torch.from_numpy(images)).items()}

        return run


class OnnxFormat(ExportFormat):
    """ONNX: runs in ONNX Runtime and in most other programs."""

    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")
    quantizer = ()

    def write(self, traced: Traced, path: Path) -> None:
        """Write the graph."""
        import onnx

        onnx.save(onnx_model(traced), path)

    def load(self, path: Path, threads: int = 0) -> Run:
        """Return a session of ONNX Runtime on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; warnings are about constants that could be folded
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def run(images: np.ndarray) -> dict[str, np.ndarray]:
            return dict(zip(names, session.run(names, {INPUT: images}), strict=True))

        return run


class OpenVinoFormat(ExportFormat):
    """OpenVINO: runs on processors and GPUs of Intel. The XML needs the BIN of the same name beside it."""

    suffix = ".xml"
    packages = ("onnx", "onnxscript", "openvino")
    quantizer = ("nncf",)

    def write(self, traced: Traced, path: Path) -> None:
        """Write the graph that OpenVINO reads from ONNX."""
        import openvino

        # Not openvino.convert_model: it tells its maker over the network that it was used.
        graph = openvino.Core().read_model(onnx_model(traced).SerializeToString())
        openvino.save_model(graph, path, compress_to_fp16=False)  # would round coordinates as well

    def load(self, path: Path, threads: int = 0, precision: str = "f32") -> Run:
        """Return the compiled graph on the CPU.

        Args:
            path: The XML.
            threads: 0 leaves their number to OpenVINO.
            precision: ``f32``, or ``bf16``: OpenVINO's own choice where the processor knows it, for the
                coordinates too.
        """
        import openvino

        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision}
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        compiled = openvino.Core().compile_model(path, "CPU", config)
        names = [output.get_any_name() for output in compiled.outputs]

        def run(images: np.ndarray) -> dict[str, np.ndarray]:
            return dict(zip(names, compiled(images).values(), strict=True))

        return run

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the weights and the graph that names them."""
        return (path.with_suffix(".bin"), path)


FORMATS: dict[str, ExportFormat] = {
    "onnx": OnnxFormat(),
    "openvino": OpenVinoFormat(),
    "torch-export": TorchExportFormat(),
}


def check_packages(name: str, int8: bool = False) -> None:
    """Check that a format can be written.

    Args:
        name: Of the format, as in ``FORMATS``.
        int8: Whether its weights shall be integers.

    Raises:
        ExportError: The format is unknown, or has no int8.
        ImportError: A package is missing; the message names the pip extra.
    """
    if name not in FORMATS:
        raise ExportError(f"unknown format {name!r}: choose one of {', '.join(FORMATS)}")
    packages: Sequence[str] = FORMATS[name].packages
    if int8:
        more = FORMATS[name].quantizer
        if more is None:
            able = ", ".join(key for key, each in FORMATS.items() if each.quantizer is not None)
            raise ExportError(f"{name} has no int8: choose one of {able}")
        packages = (*packages, *more)
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(
            f"format {name}{' with int8' if int8 else ''} needs {', '.join(missing)}: "
            "pip install 'mmlandmark[export]'"
        )


def in_pytorch(module: nn.Module) -> Run:
    """Return a function that runs an :class:`ExportableDetector` itself, operators in plain PyTorch."""

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode(), using_reference():
            return {name: value.numpy() for name, value in module(torch.from_numpy(images)).items()}

    return run


def onnx_model(traced: Traced) -> Any:
    """Return the ONNX model of a traced detector, its batch axis named ``batch``.

    Raises:
        ExportError: PyTorch cannot write a part of it as ONNX.
    """
    try:
        with _quiet():
            exported = torch.onnx.export(
                traced.program,
                input_names=[INPUT],
                output_names=list(traced.outputs),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter has errors of its own, which are private
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ExportError(f"the detector cannot be written as ONNX: {reason}") from error
    assert exported is not None  # None only where a file is named
    model = exported.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # Shapes in between would keep the other name of the batch.
    del model.graph.value_info[:]
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters say about packages and weights that nobody asked for off the console."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(before)
