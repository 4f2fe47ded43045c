"""One trained run that the tests of a file share, and a small data set to spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlandmark import apis
from mmlandmark.apis import prepare_config, train_config
from mmlandmark.datasets.phantom import render_phantom
from mmlandmark.inference.loading import load_model
from mmlandmark.models.detectors import LandmarkDetector
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


class Trained(NamedTuple):
    """A config file, the folder of its run, and what the training returned."""

    path: Path
    folder: Path
    metrics: dict

    def config(self, **overrides) -> Config:
        """Return the config as it was before the run, with other values."""
        config = Config.fromfile(self.path)
        config.merge_from_dict(overrides)
        return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    """Train a tiny detector for two epochs."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    path = folder / "unet_tiny.py"
    config = tiny_config(folder / "run", max_epochs=2, randomness=dict(seed=3))
    config.dump(path)
    return Trained(path, folder / "run", train_config(Config.fromfile(path)))


CONFIG = """
default_scope = "mmlandmark"
log_level = "WARNING"
resize = dict(type="Resize", size=(16, 16))
dataset = dict(
    type="LandmarkDataset", data_root={root!r}, ann_file="points.json", serialize_data=False,
    pipeline=[dict(type="LoadImage"), resize, dict(type="Resample"), dict(type="PackInputs")],
)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="train"),
)
val_dataloader = dict(train_dataloader, dataset=dict(dataset, split="test"))
test_dataloader = val_dataloader
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(2, 4))
test_evaluator = val_evaluator
model = dict(
    type="LandmarkDetector",
    backbone=dict(type="UNet", widths=(4, 6)),
    head=dict(
        type="HeatmapHead", num_landmarks=3, codec=dict(type="GaussianHeatmapCodec", sigma=1.0),
        loss=dict(type="EWCLoss"),
    ),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3))
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1),
    invalid_loss=dict(type="InvalidLossHook"),
    safe_checkpoint=dict(type="SafeCheckpointHook"),
)
"""


class Lab:
    """Three images with three landmarks each, a config, and a count of training steps."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run, self.steps = folder, folder / "run", 0
        self.config, self.points = folder / "tiny.py", folder / "points.json"
        rng = np.random.default_rng(0)
        self.samples = []
        for name in "abc":
            cv2.imwrite(str(folder / f"{name}.png"), rng.integers(0, 256, (20, 30), dtype=np.uint8))
            self.samples.append(
                dict(
                    image=f"{name}.png",
                    landmarks=[[3, 4], [10, 12], [25, 15]],
                    width=30,
                    height=20,
                    spacing=0.5,
                    split="test" if name == "c" else "train",
                )
            )
        self.config.write_text(CONFIG.format(root=str(folder)))
        self.write()

    def write(self, schema: dict | None = None) -> None:
        """Write the annotations, as they are by now."""
        self.points.write_text(
            json.dumps(dict(samples=self.samples) | (dict(schema=schema) if schema else {}))
        )

    def train(self, options: dict | None = None, resume: str | None = None) -> dict:
        """Do what ``mmlandmark train`` does."""
        config = prepare_config(self.config, options=options, work_dir=str(self.run))
        return train_config(config, resume=resume)

    def test(self, checkpoint, options: dict | None = None) -> dict:
        """Do what ``mmlandmark test`` does."""
        config = prepare_config(self.config, options=options, work_dir=str(self.run))
        return apis.test_config(config, checkpoint, out_dir=self.run / "test")

    def assert_not_started(self) -> None:
        """No step was trained and no result written, whole or half."""
        assert self.steps == 0
        self.assert_nothing_written()

    def assert_nothing_written(self) -> None:
        """Beside logs and the config, the run left nothing; above all no temporary file."""
        left = [p for p in self.run.rglob("*") if p.is_file() and p.suffix not in (".log", ".py")]
        assert left == []


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Lab:
    """Return a fresh data set with its config."""
    made = Lab(tmp_path)
    original = LandmarkDetector.train_step

    def train_step(self, *args, **kwargs):
        made.steps += 1
        return original(self, *args, **kwargs)

    monkeypatch.setattr(LandmarkDetector, "train_step", train_step)
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict:
    """Return what a good checkpoint of that config holds."""
    made = Lab(tmp_path_factory.mktemp("good"))
    made.train()
    return load_checkpoint(made.run / "epoch_1.pth")


@pytest.fixture(scope="module")
def tested(trained, tmp_path_factory):
    """The folder and the metrics of one test."""
    out = tmp_path_factory.mktemp("tested")
    return out, apis.test_config(trained.config(), trained.folder / "epoch_2.pth", out_dir=out)


@pytest.fixture(scope="module")
def model(trained):
    """The trained run as a model."""
    return load_model(trained.folder)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory, model):
    """An annotation file of twelve phantoms that the model was not trained on."""
    folder, samples = tmp_path_factory.mktemp("annotated"), []
    for i in range(200, 212):
        image, points, spacing = render_phantom("ceph", 0, i, (64, 64))
        cv2.imwrite(str(folder / f"{i}.png"), image)
        samples.append(dict(image=f"{i}.png", landmarks=points.tolist(), spacing=list(spacing)))
    schema = dict(name="own", landmarks=list(model.schema.landmarks))
    (folder / "points.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    return folder / "points.json"
