"""One detector in several ways, to measure and compare them: PyTorch, exported files, fewer bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator

from mmlandmark.engine import load_config, stage_to_test
from mmlandmark.inference import load_model
from mmlandmark.inference.export import FORMATS, ExportableDetector, answers, traced
from mmlandmark.inference.export.exportable import Traced
from mmlandmark.inference.export.formats import Run
from mmlandmark.inference.export.quantization import quantize
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.inference.predicting import items_of_test
from mmlandmark.models.assembly import filled
from mmlandmark.models.data_preprocessor import CHANNELS_LAST
from mmlandmark.models.detectors import plain_config
from mmlandmark.models.frozen_config import without_starts
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import METRICS, MODELS
from mmlandmark.structures import Detection, LandmarkDataSample, invert_matrix

PYTORCH = "PyTorch"
_IN_PYTORCH = {
    PYTORCH: {},
    "PyTorch, channels last": dict(channels_last=True),
    "PyTorch, channels last, compiled": dict(channels_last=True, compiled=True),
    "PyTorch, channels last, bf16": dict(channels_last=True, bf16=True),
}
# Format, whether in integers, and options of its load().
_EXPORTED: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "torch.export": ("torch-export", False, {}),
    "ONNX Runtime": ("onnx", False, {}),
    "ONNX Runtime, int8": ("onnx", True, {}),
    "OpenVINO": ("openvino", False, {}),
    "OpenVINO, bf16": ("openvino", False, dict(precision="bf16")),
    "OpenVINO, int8": ("openvino", True, {}),
}
WAYS = (*_IN_PYTORCH, *_EXPORTED)


def model_or_untrained(source: str | Path) -> ModelFile:
    """Return a trained detector, or of a Python config one with random weights, which is as fast.

    Args:
        source: As :func:`mmlandmark.inference.load_model` takes it, or a config ``*.py``; of several stages
            the last one counts.
    """
    if Path(source).suffix != ".py":
        return load_model(source)
    config = load_config(source)
    if config.get("stages"):
        config = stage_to_test(config, "work_dirs", None)
    torch.manual_seed(0)
    detector = MODELS.build(filled(MODELS, without_starts(plain_config(config.model)), dims=2))
    return pack_checkpoint(config, dict(state_dict=detector.state_dict()), str(source), Path(source).stem)


def ways_to_run(
    model: ModelFile,
    ways: Sequence[str],
    shape: Sequence[int],
    images: Sequence[np.ndarray],
    folder: Path,
    threads: int,
) -> dict[str, Run]:
    """Return functions from images (B, C, *S) to outputs by name, by way.

    Args:
        model: The detector.
        ways: Of :data:`WAYS`.
        shape: (C, *S) of the images.
        images: (C, *S) each: from what they excite, int8 takes its ranges.
        folder: For exported files.
        threads: Threads of each.
    """
    made: dict[str, Run] = {}
    program: Traced | None = None
    for way in ways:
        if way in _IN_PYTORCH:
            made[way] = _in_pytorch(model, **_IN_PYTORCH[way])
            continue
        name, int8, options = _EXPORTED[way]
        path = folder / f"{model.name}{FORMATS[name].suffix}"
        if not path.exists():
            if program is None:
                program = traced(ExportableDetector(model.detector(), model.schema.flip_pairs).eval(), shape)
            FORMATS[name].write(program, path)
        if int8:
            full, path = path, folder / f"{model.name}-int8{path.suffix}"
            quantize(name, full, path, images)
        made[way] = FORMATS[name].load(path, threads, **options)
    return made


def _in_pytorch(
    model: ModelFile, channels_last: bool = False, compiled: bool = False, bf16: bool = False
) -> Run:
    """Return a function that runs the detector with the native operators, as a prediction does."""
    detector = model.detector()
    for parameter in detector.parameters():
        last = CHANNELS_LAST.get(parameter.ndim) if channels_last else None
        parameter.data = parameter.data.contiguous(memory_format=last or torch.contiguous_format)
    if compiled:
        for one in getattr(detector, "members", None) or [detector]:
            for name, part in one.named_children():
                if name in ("backbone", "neck", "head"):
                    part.compile()
    module = ExportableDetector(detector, model.schema.flip_pairs).eval()

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        inputs = torch.from_numpy(images)
        if channels_last:
            inputs = inputs.contiguous(memory_format=CHANNELS_LAST[inputs.ndim])
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return {name: value.float().numpy() for name, value in module(inputs).items()}

    return run


def own_test(model: ModelFile) -> tuple[list[np.ndarray], list[LandmarkDataSample]]:
    """Return images and annotated samples of the test that a model names.

    Raises:
        ValueError: It names none.
    """
    if "test_dataloader" not in model.config or "test_evaluator" not in model.config:
        raise ValueError(f"model {model.name!r} names no data of a test and no evaluator: pack it with those")
    items = items_of_test(model)
    samples = [item["data_samples"] for item in items]
    images = [s.unit_pixels(item["inputs"]).numpy() for s, item in zip(samples, items, strict=True)]
    return images, samples


def errors_of(
    model: ModelFile, run: Run, images: Sequence[np.ndarray], samples: Sequence[LandmarkDataSample]
) -> dict[str, float]:
    """Return the metrics of the model's evaluator for what a way to run it says.

    Args:
        model: The detector.
        run: One of :func:`ways_to_run`.
        images: Of :func:`own_test`, likewise the samples.
        samples: Predictions are filled in.
    """
    said = answers(run, images)
    configs = model.config["test_evaluator"]
    evaluator = Evaluator([METRICS.build(c) for c in ([configs] if isinstance(configs, dict) else configs)])
    for sample, points, scores in zip(samples, said["points"], said["scores"], strict=True):
        found = Detection(torch.from_numpy(points), torch.from_numpy(scores))
        found = found.mapped(invert_matrix(sample.input_from_original))
        sample.pred_landmarks, sample.pred_scores = found.points, found.scores
    evaluator.process(data_samples=list(samples))
    return evaluator.evaluate(len(samples))
