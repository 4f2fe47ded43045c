"""Images as an exported detector takes them: to check it, and to set the ranges of its integers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mmlandmark.datasets import PhantomDataset
from mmlandmark.inference.export.exportable import ExportError, network_channels
from mmlandmark.inference.image_inputs import Case, find_cases
from mmlandmark.models.data_preprocessor import LandmarkDataPreprocessor
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.models.model_file import ModelFile

_PHANTOMS = 6


def image_shape(model: ModelFile, detector: BaseDetector) -> tuple[int, ...]:
    """Return the (C, *S) of the images that a model's pipeline makes.

    C is that of the pipeline, where it converts images to grey or colour, else that of the network.

    Raises:
        ExportError: It makes images of several sizes.
    """
    dims = model.schema.dims
    transforms = model.transforms()
    shapes = set()
    for size in ((48, 64, 80)[:dims], (80, 64, 48)[:dims]):
        record = model.made_record("blank", np.zeros(size, np.uint8))
        packed = transforms(dict(record, rng=np.random.default_rng(0)))
        shapes.add(tuple(packed["inputs"].shape))
    if len({shape[1:] for shape in shapes}) > 1:
        raise ExportError(
            f"model {model.name!r}: its pipeline makes inputs of several sizes, an exported detector takes "
            "one: end the geometry of the pipeline with Resize(size=...)"
        )
    fixed = [step["channels"] for step in model.config["pipeline"] if step.get("channels")]
    return (fixed[-1] if fixed else network_channels(detector), *shapes.pop()[1:])


def read_images(
    model: ModelFile, paths: Sequence[str | Path], shape: Sequence[int], limit: int
) -> list[np.ndarray]:
    """Return images (C, *S) float32 after a model's pipeline.

    Args:
        model: Its pipeline is used.
        paths: Files, patterns and folders.
        shape: (C, *S), see :func:`image_shape`.
        limit: Of more images, this many are taken at equal distances.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no image.
        ValueError: An image cannot be read.
    """
    cases = find_cases(list(paths))
    chosen = np.unique(np.linspace(0, len(cases) - 1, min(limit, len(cases))).round().astype(int))
    return _through(model, [cases[i] for i in chosen], shape)


def made_images(model: ModelFile, shape: Sequence[int]) -> list[np.ndarray]:
    """Return a few generated images (C, *S) float32: phantoms, in 3D smooth noise."""
    if model.schema.dims == 2:
        size = tuple(shape[1:])
        phantoms = PhantomDataset("ceph", _PHANTOMS, size if min(size) >= 64 else (64, 64), pipeline=[])
        arrays = [phantoms.get_data_info(i)["img"] for i in range(_PHANTOMS)]
    else:
        noise = torch.rand(_PHANTOMS, 1, 6, 6, 6, generator=torch.Generator().manual_seed(0))
        arrays = list(F.interpolate(noise, (48, 48, 48), mode="trilinear")[:, 0].numpy())
    return _through(model, [Case(f"made_{i}", array=array) for i, array in enumerate(arrays)], shape)


def _through(model: ModelFile, cases: Sequence[Case], shape: Sequence[int]) -> list[np.ndarray]:
    """Return images after the pipeline, with the channels of ``shape``."""
    transforms = model.transforms()
    own = LandmarkDataPreprocessor(channels=shape[0])
    images = []
    for case in cases:
        record: dict[str, Any] = dict(
            sample_id=case.sample_id, img_path=case.image, rng=np.random.default_rng(0)
        )
        if case.array is not None:
            record |= model.made_record(case.sample_id, case.array)
        packed = transforms(record)
        image = packed["data_samples"].unit_pixels(packed["inputs"])
        images.append(np.ascontiguousarray(own.to_channels(image[None])[0]))
    return images
