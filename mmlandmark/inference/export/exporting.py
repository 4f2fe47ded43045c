"""From a trained detector to a file that other programs run, checked by running it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mmlandmark.inference.export.description import describe, is_description
from mmlandmark.inference.export.example_images import image_shape, made_images, read_images
from mmlandmark.inference.export.exportable import (
    ExportableDetector,
    ExportError,
    Traced,
    traced,
    with_half_weights,
)
from mmlandmark.inference.export.formats import FORMATS, check_packages, in_pytorch
from mmlandmark.inference.export.parity import Difference, answers, difference
from mmlandmark.inference.export.quantization import quantize
from mmlandmark.models.model_file import ModelFile
from mmlandmark.utils.files import atomic_write_json, read_json

# How far a file in floating point may be from PyTorch, by the numbers of a Difference. Files of the shipped
# detectors are below a hundredth of each.
TOLERANCES = dict(median=1e-3, high=1e-2, scores=1e-3, spread=1e-2, presence=1e-3)
# The mean distance that rounded weights may cost by default, in pixels of the input.
LIMIT = 0.5
# Images: to quantise with and check, at the least and at the most; and to check a file in floating point.
_FEWEST, _MOST, _TO_CHECK = 8, 128, 16

_SHAPE_CHOICE = (
    "the choice among several peaks by the positions of the other landmarks (test_cfg.shape_prior)"
)


@dataclass(frozen=True)
class Exported:
    """What an export has made.

    Attributes:
        path: The file.
        description: The JSON beside it.
        precision: ``float32``, ``float16 weights`` or ``int8``.
        size: Bytes of all its files.
        check: From PyTorch with the same weights, for files in floating point; of int8 from the file before.
        loss: From PyTorch in float32; None for float32, where ``check`` says it.
        left_out: What the detector does and the file does not; empty if they do the same.
    """

    path: Path
    description: Path
    precision: str
    size: int
    check: Difference
    loss: Difference | None
    left_out: str = ""


def export_model(
    model: ModelFile,
    path: str | Path,
    format: str = "onnx",
    *,
    half: bool = False,
    int8: bool = False,
    images: Sequence[str | Path] = (),
    limit: float = LIMIT,
) -> Exported:
    """Write a detector as a file of another program; a file that does not say the same is not left behind.

    Beside it lies a description in JSON, ``<file>.json``; see :func:`~mmlandmark.inference.export.describe`.

    Args:
        model: The detector.
        path: The file.
        format: One of ``onnx``, ``openvino``, ``torch-export``.
        half: Store kernels in float16, computed with in float32.
        int8: Convolutions in 8-bit integers, but for the last ones.
        images: Files, patterns or folders of images to check with; ``int8`` takes the ranges of values from
            every other one, and is checked with the rest. Generated ones by default.
        limit: Mean distance in pixels of the input that ``half`` and ``int8`` may cost.

    Raises:
        ExportError: The detector cannot be exported, the file does not say what the detector says, or a file
            that is not of an earlier export lies where one would be written beside ``path``.
        FileNotFoundError: An image does not exist.
        ImportError: A package is missing; the message names the pip extra.
        ValueError: An image cannot be read.
    """
    path = Path(path)
    description = path.with_name(f"{path.name}.json")
    _check_request(path, description, format, half, int8)
    detector = model.detector()
    shape = image_shape(model, detector)
    arrays = _images(model, shape, images, int8)
    plain = ExportableDetector(detector, model.schema.flip_pairs).eval()
    own = traced(with_half_weights(plain) if half else plain, shape)
    loss: Difference | None
    with _workshop(path) as folder:
        made = folder / path.name
        if int8:
            check, loss = _write_int8(own, made, format, arrays)
        else:
            check, loss = _write(own, made, format, arrays, plain)
        _refuse(path, check, loss, limit)
        exported = Exported(
            path=path,
            description=description,
            precision="int8" if int8 else "float16 weights" if half else "float32",
            size=sum(file.stat().st_size for file in FORMATS[format].files(made)),
            check=check,
            loss=loss,
            left_out="" if detector.shape_choice is None else _SHAPE_CHOICE,
        )
        about = folder / description.name
        atomic_write_json(about, describe(model, own, format=format, **_told(exported)))
        _publish([*FORMATS[format].files(made), about], path.parent)
    return exported


def _publish(files: Sequence[Path], folder: Path) -> None:
    """Move files that belong together into a folder, where others of their names may lie.

    Of these the last ones go first, so that after a kill there is no file beside one of an earlier export:
    a file with a description is whole, and so is one that names another.
    """
    for file in reversed(files):
        (folder / file.name).unlink(missing_ok=True)
    for file in files:
        os.replace(file, folder / file.name)


def _told(exported: Exported) -> dict[str, Any]:
    """Return what the description says of a file."""
    return dict(
        file=exported.path.name,
        precision=exported.precision,
        check=exported.check.to_dict(),
        loss=None if exported.loss is None else exported.loss.to_dict(),
        left_out=exported.left_out,
    )


def _check_request(path: Path, description: Path, format: str, half: bool, int8: bool) -> None:
    """Raise ExportError or ImportError for what cannot be done, before any work."""
    if half and int8:
        raise ExportError("choose one of half and int8")
    check_packages(format, int8)
    suffix = FORMATS[format].suffix
    if path.suffix != suffix:
        raise ExportError(f"{path}: a file of format {format} ends with {suffix}")
    _check_neighbours(path, description, format)


def _check_neighbours(path: Path, description: Path, format: str) -> None:
    """Raise ExportError if what goes beside a file would replace what no export has written."""
    try:
        ours = is_description(read_json(description))
    except (OSError, ValueError):  # there is none, it is a folder, or no JSON
        ours = False
    for file in (*FORMATS[format].files(path)[:-1], description):
        if file.exists() and not ours:
            raise ExportError(
                f"{file} is not of an earlier export of {path.name} and would be replaced: choose another "
                "name, or move it away"
            )


def _images(
    model: ModelFile, shape: tuple[int, ...], paths: Sequence[str | Path], int8: bool
) -> list[np.ndarray]:
    """Return the images to work with: those that are given, else generated ones."""
    if not paths and not int8:
        return made_images(model, shape)
    images = read_images(model, paths, shape, _MOST if int8 else _TO_CHECK) if paths else []
    if int8 and len(images) < _FEWEST:
        raise ExportError(
            f"int8 needs at least {_FEWEST} images like those that the detector is for, got {len(images)}: "
            "half of them set the ranges of values, the others check the result"
        )
    return images


def _write(
    own: Traced, made: Path, format: str, images: list[np.ndarray], plain: nn.Module
) -> tuple[Difference, Difference | None]:
    """Write a file in floating point; return its distance from PyTorch, and what rounding has cost."""
    FORMATS[format].write(own, made)
    said = answers(FORMATS[format].load(made), images)
    check = difference(said, answers(in_pytorch(own.module), images))
    return check, None if own.module is plain else difference(said, answers(in_pytorch(plain), images))


def _write_int8(
    own: Traced, made: Path, format: str, images: list[np.ndarray]
) -> tuple[Difference, Difference]:
    """Write a file in integers; return the distance of its original from PyTorch, and its own."""
    original = made.with_name(f"float{made.suffix}")
    FORMATS[format].write(own, original)
    seen, unseen = images[::2], images[1::2]
    expected = answers(in_pytorch(own.module), unseen)
    check = difference(answers(FORMATS[format].load(original), unseen), expected)
    quantize(format, original, made, seen)
    return check, difference(answers(FORMATS[format].load(made), unseen), expected)


def _refuse(path: Path, check: Difference, loss: Difference | None, limit: float) -> None:
    """Raise ExportError if a file is too far from what it was made of."""
    values = check.to_dict()
    beyond = [
        f"{name} must be below {most:g}"
        for name, most in TOLERANCES.items()
        if values[name] is not None and values[name] >= most
    ]
    if check.unlike:
        beyond.append("unlike must be 0")
    if beyond:
        raise ExportError(
            f"{path} was not written: it does not say what PyTorch says, {check} ({', '.join(beyond)})"
        )
    if loss is not None and (loss.mean > limit or loss.unlike):
        raise ExportError(
            f"{path} was not written: rounding costs too much, {loss}; the mean must not be "
            f"above {limit:g} px"
        )


@contextmanager
def _workshop(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside a file; nothing stays of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
