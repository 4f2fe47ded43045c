"""Ways to train on large volumes and to predict them, on generated volumes and untrained networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from mmlandmark.inference.inferencer import LandmarkInferencer
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import MODELS, TRANSFORMS
from mmlandmark.structures import LandmarkSchema, metainfo_of

WHOLE, WINDOWS, COARSE_TO_FINE, PATCHES = "whole volume", "windows", "coarse to fine", "patches"
WAYS = {"predict": (WHOLE, WINDOWS, COARSE_TO_FINE), "train": (WHOLE, PATCHES)}
WIDTHS, WINDOW, OVERLAP, PATCH, SHRINK = (4, 8), 64, 0.125, 64, 4
_RANGE = (-1000, 2000)


def write_volume(path: str | Path, size: Sequence[int], seed: int = 0) -> None:
    """Write a volume of 16-bit CT values: an ellipsoid of tissue with a shell of bone, in noise.

    Args:
        path: ``.npy`` file.
        size: (D, H, W).
        seed: Of the noise.
    """
    rng = np.random.default_rng(seed)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=tuple(size))
    axes = [np.linspace(-1, 1, side, dtype=np.float32) for side in size]
    plane = axes[1][:, None] ** 2 + axes[2] ** 2
    noise = rng.normal(0, 30, plane.shape).astype(np.int16)
    for number, z in enumerate(axes[0]):
        radius = plane + z**2
        values = np.where(radius < 0.6, 40, np.where(radius < 0.7, 900, -1000))
        out[number] = values + np.roll(noise, 37 * number)
    out.flush()


def network(landmarks: int) -> dict[str, Any]:
    """Return the config of a small detector for volumes."""
    return dict(
        type="LandmarkDetector",
        dims=3,
        data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.3, std=0.3, channels=1),
        backbone=dict(type="UNet", in_channels=1, widths=WIDTHS, norm_cfg=dict(type="BN")),
        head=dict(
            type="HeatmapHead",
            num_landmarks=landmarks,
            codec=dict(type="GaussianHeatmapCodec", sigma=2),
            loss=dict(type="EWCLoss"),
        ),
    )


def model_of(way: str, landmarks: int) -> ModelFile:
    """Return an untrained detector of a way to predict."""
    model = network(landmarks)
    if way == COARSE_TO_FINE:
        sizes = dict(patch_size=(PATCH,) * 3, shrink=SHRINK)
        model = dict(type="CoarseToFineDetector", coarse=model, fine=model, **sizes)
    pipeline = [dict(type="LoadImage", value_range=_RANGE), dict(type="PackInputs")]
    config = Config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = MODELS.build(copy.deepcopy(model)).state_dict()
    meta = metainfo_of(LandmarkSchema.numbered(landmarks, 3))
    return pack_checkpoint(config, dict(state_dict=state, meta=dict(dataset_meta=meta)), way, name=way)


def predict(way: str, path: str | Path, landmarks: int) -> int:
    """Predict a volume from its file; return how many landmarks have a point.

    Args:
        way: One of ``WAYS["predict"]``.
        path: What :func:`write_volume` wrote.
        landmarks: K.
    """
    windows: dict[str, Any] = dict(window=(WINDOW,) * 3, overlap=OVERLAP) if way == WINDOWS else {}
    (found,) = LandmarkInferencer(model_of(way, landmarks), "cpu", batch_size=1, **windows)(str(path))
    return int(np.isfinite(found.points).all(-1).sum())


def train(way: str, path: str | Path, landmarks: int) -> int:
    """Take two steps of training on a volume from its file; return how many landmarks it learned from.

    Args:
        way: One of ``WAYS["train"]``.
        path: What :func:`write_volume` wrote.
        landmarks: K.
    """
    size = np.load(path, mmap_mode="r", allow_pickle=False).shape
    rng = np.random.default_rng(0)
    points = rng.uniform(0.2, 0.8, (landmarks, 3)) * np.array(size[::-1])
    cut = [dict(type="RandomPatch", size=(PATCH,) * 3), dict(type="Resample")] if way == PATCHES else []
    steps = [dict(type="LoadImage", value_range=_RANGE), *cut, dict(type="PackInputs")]
    transforms = Compose([TRANSFORMS.build(step) for step in steps])
    model = MODELS.build(network(landmarks)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        record = dict(sample_id="ct", img_path=str(path), landmarks=points.astype(np.float32), rng=rng)
        packed = transforms(record)
        data = dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]])
        losses = model(**model.data_preprocessor(data, training=True), mode="loss")
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return landmarks


def run_way(part: str, way: str, path: str | Path, landmarks: int) -> int:
    """Run one way of a part of the work, ``train`` or ``predict``.

    Raises:
        ValueError: There is no such way.
    """
    if way not in WAYS.get(part, ()):
        raise ValueError(f"there is no way {way!r} to {part}: {WAYS}")
    return {"train": train, "predict": predict}[part](way, path, landmarks)
