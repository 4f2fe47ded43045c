"""The dimensions of the data reach the model, and no config names them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmengine.config import Config
from torch import nn
from torch.utils.data import TensorDataset

from image_writers import write_nifti
from mmlandmark.apis import test_config as run_test  # not a test of its own
from mmlandmark.apis import train_config
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.config import config_of_run
from mmlandmark.engine.data_dims import with_data_dims
from mmlandmark.structures import world_matrix
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.files import read_json

NAMES = ("left", "right", "top")
SIZE = (12, 14, 16)  # depth, height, width
MODEL = dict(type="LandmarkDetector")


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """A folder of six small volumes, stored in an order of axes that is not LPS, and their points as JSON."""
    folder, rng = tmp_path_factory.mktemp("heads"), np.random.default_rng(0)
    world = world_matrix((0.5, 0.5, 1.0), (10, 20, 30), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    samples = []
    for case in range(6):
        points = rng.uniform(3, 8, (3, 3))
        z, y, x = np.mgrid[: SIZE[0], : SIZE[1], : SIZE[2]]
        volume = sum(
            np.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2) / 4) * (k + 1) / 3
            for k, p in enumerate(points)
        )
        write_nifti(folder / f"{case}.nii.gz", volume.astype(np.float32), None, world)
        split = ("train", "train", "train", "train", "val", "test")[case]
        samples.append(dict(image=f"{case}.nii.gz", landmarks=points.tolist(), split=split))
    (folder / "all.json").write_text(json.dumps(dict(samples=samples)))
    return folder


def loader(folder, split):
    pipeline = [
        dict(type="LoadImage", file_spacing=True),
        *([dict(type="RandomAffine", rotation=5, scale=0.05)] if split == "train" else []),
        dict(type="Resize", size=SIZE[::-1]),
        dict(type="Resample"),
        dict(type="PackInputs"),
    ]
    dataset = dict(type="LandmarkDataset", ann_file="all.json", data_root=str(folder), split=split)
    return dict(
        phantom_dataloader(train=split == "train"),
        dataset=dict(dataset, pipeline=pipeline, serialize_data=False),
    )


def volumes_config(folder, work_dir) -> Config:
    """Return the config of a run on volumes, in which no number of dimensions stands."""
    config = tiny_config(work_dir, max_epochs=2)
    for split in ("train", "val", "test"):
        config[f"{split}_dataloader"] = loader(folder, split)
    config.model.head.num_landmarks = len(NAMES)
    config.val_evaluator = config.test_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(1, 2))
    assert "dims" not in config.pretty_text
    return config


def test_volumes_are_trained_and_tested_without_dims_in_the_config(heads, tmp_path):
    config = volumes_config(heads, tmp_path / "run")
    train_config(config)
    left = config_of_run(tmp_path / "run")
    assert left.model.dims == 3
    assert config_hash(left) == config_hash(config)
    values = run_test(config, tmp_path / "run" / "epoch_2.pth", out_dir=tmp_path / "test")
    assert np.isfinite(list(values.values())).all()
    (case,) = read_json(tmp_path / "test" / "predictions.json")["cases"]
    assert np.shape(case["pred"]) == (3, 3)
    np.testing.assert_allclose(case["spacing"], (0.5, 0.5, 1.0), rtol=1e-5)
    again = run_test(left, tmp_path / "run" / "epoch_2.pth", out_dir=tmp_path / "again")
    assert again == values
    config.train_cfg.max_epochs, config.resume = 3, True
    train_config(config)
    assert (tmp_path / "run" / "epoch_3.pth").is_file()


def test_every_layer_is_of_the_dimensions_of_the_data(heads, tmp_path):
    runner = LandmarkRunner.from_cfg(volumes_config(heads, tmp_path))
    convolutions = [m for m in runner.model.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    assert convolutions
    assert all(isinstance(m, nn.Conv3d) for m in convolutions)


def test_flat_data_says_so_too(tmp_path):
    assert LandmarkRunner.from_cfg(tiny_config(tmp_path)).cfg.model.dims == 2


def test_what_the_config_says_stays(heads):
    assert with_data_dims(dict(MODEL, dims=2), [loader(heads, "test")]) == dict(MODEL, dims=2)
    takes_none = dict(type="LandmarkDataPreprocessor")
    assert with_data_dims(takes_none, [loader(heads, "test")]) == takes_none


def test_the_first_dataset_that_knows_decides(heads):
    nested = dict(dataset=dict(type="ConcatDataset", datasets=[loader(heads, "train")["dataset"]]))
    strange = dict(dataset=dict(type=TensorDataset))
    assert with_data_dims(MODEL, [None, strange, nested, phantom_dataloader()]) == dict(MODEL, dims=3)
    assert with_data_dims(MODEL, [None, strange]) == MODEL

    class Built:
        dataset = LandmarkDataset("all.json", str(heads))

    assert with_data_dims(MODEL, [Built()]) == dict(MODEL, dims=3)


def test_no_image_is_read_and_a_missing_annotation_is_named(heads, tmp_path):
    (tmp_path / "all.json").write_bytes((heads / "all.json").read_bytes())
    assert with_data_dims(MODEL, [loader(tmp_path, "train")]) == dict(MODEL, dims=3)
    with pytest.raises(FileNotFoundError, match=r"annotation file .*all\.json' does not exist"):
        with_data_dims(MODEL, [loader(tmp_path / "nowhere", "train")])
