"""Small detectors to be exported, shared by the tests of this folder."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
import torch

from mmlandmark.datasets import PhantomDataset
from mmlandmark.evaluation import Calibration
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkSchema

SIZE = (64, 48)
LOAD = [dict(type="LoadImage", size=(96, 72), channels=1), dict(type="Resize", size=SIZE)]
PIPELINE = [*LOAD, dict(type="Resample"), dict(type="PackInputs")]
UNET = dict(type="UNet", in_channels=1, widths=(8, 16, 16), norm_cfg=dict(type="BN"))
PREPROCESSOR = dict(type="LandmarkDataPreprocessor", mean=0.4, std=0.25, channels=1, channels_last=True)


def config_of(decoder: Any = "local_centroid", count: int = 19, **changes: Any) -> dict[str, Any]:
    """Return the config of a small U-Net whose maps a decoder reads."""
    head = dict(
        type="HeatmapHead",
        num_landmarks=count,
        codec=dict(type="GaussianHeatmapCodec", sigma=2.0, decoder=decoder),
        loss=dict(type="HeatmapMSELoss", reduction="sum"),
    )
    base = dict(type="LandmarkDetector", dims=2, data_preprocessor=PREPROCESSOR, backbone=UNET, head=head)
    return base | changes


def model_of(model: dict[str, Any], state: dict | None = None, **changes: Any) -> ModelFile:
    """Return a model file of the config of a detector, with random weights unless some are given."""
    torch.manual_seed(0)
    detector = MODELS.build(model)
    dims = model.get("dims", 2)
    values = dict(
        name="small",
        config=dict(model=model, pipeline=PIPELINE),
        state_dict=detector.state_dict() if state is None else state,
        schema=LandmarkSchema.numbered(detector.head.num_landmarks, dims),
    )
    return ModelFile(**(values | changes))


def calibration_of(model: ModelFile, **changes: Any) -> dict[str, Any]:
    """Return a calibration of a model, as its file keeps it."""
    names = model.schema.landmarks
    values = dict(
        landmarks=names,
        dims=2,
        unit="mm",
        levels=(0.9,),
        radius_kind="absolute",
        region_kind="absolute",
        scores={"absolute": tuple(np.arange(1.0, 20.0) * (k + 1) for k in range(len(names)))},
    )
    return Calibration(**(values | changes)).to_dict()


@functools.cache
def trained_weights() -> dict[str, torch.Tensor]:
    """Return weights of :func:`config_of` after some seconds on phantoms: maps with peaks."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    detector = MODELS.build(config_of()).train()
    pipeline = [*LOAD, dict(type="Resample"), dict(type="PackInputs")]
    phantoms = PhantomDataset("ceph", 8, SIZE, pipeline=pipeline, serialize_data=False)
    data = [phantoms[i] for i in range(8)]
    batch = detector.data_preprocessor(
        dict(inputs=[d["inputs"] for d in data], data_samples=[d["data_samples"] for d in data])
    )
    optimizer = torch.optim.Adam(detector.parameters(), 5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        loss = sum(detector.loss(batch["inputs"], batch["data_samples"]).values())
        loss.backward()
        optimizer.step()
    return detector.state_dict()


def trained_model(decoder: Any = "local_centroid", **changes: Any) -> ModelFile:
    """Return a small trained model that finds the landmarks of phantoms roughly."""
    return model_of(config_of(decoder, **changes), trained_weights())


def phantom_files(
    folder: Any, count: int = 3, suffix: str = ".png", size: tuple[int, int] = (200, 160)
) -> list:
    """Write phantoms as image files and return their paths."""
    folder.mkdir(exist_ok=True)
    phantoms = PhantomDataset("ceph", count, size, pipeline=[], serialize_data=False)
    paths = [folder / f"{i}{suffix}" for i in range(count)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.asarray(phantoms.get_data_info(i)["img"]))
    return paths
