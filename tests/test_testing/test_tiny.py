"""Tiny runs for tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmlandmark.apis import train_config
from mmlandmark.cli import invoke
from mmlandmark.datasets.phantom import sample_scene
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.inference.writers import write_predictions
from mmlandmark.registry import DATASETS
from mmlandmark.structures import apply_matrix
from mmlandmark.testing.tiny import KINDS, phantom_dataloader, tiny_config, tiny_model
from mmlandmark.utils.files import read_json


def test_a_tiny_run_trains_and_validates(tmp_path):
    train_config(tiny_config(tmp_path, max_epochs=1))
    assert (tmp_path / "epoch_1.pth").is_file()


def test_overrides_are_merged(tmp_path):
    config = tiny_config(tmp_path, max_epochs=3, **{"model.backbone.widths": (4, 8)}, log_level="ERROR")
    assert config.model.backbone.widths == (4, 8)
    assert config.model.backbone.type == "UNet"
    assert (config.log_level, config.train_cfg.max_epochs) == ("ERROR", 3)


@pytest.mark.parametrize("num_landmarks", KINDS)
def test_phantoms_to_train_on_are_other_patients(num_landmarks):
    size = (24, 24, 24) if KINDS[num_landmarks] == "head" else (64, 64)
    loaders = [phantom_dataloader(num_landmarks, size=size, train=train) for train in (True, False)]
    train, test = (DATASETS.build(loader["dataset"]) for loader in loaders)
    assert train[0]["data_samples"].gt_landmarks.shape == (num_landmarks, len(size))
    ids = [{data.get_data_info(i)["sample_id"] for i in range(len(data))} for data in (train, test)]
    assert not ids[0] & ids[1]


def test_a_model_file_without_a_run(tmp_path):
    before = torch.random.get_rng_state()
    one, same, other = tiny_model(37), tiny_model(37), tiny_model(37, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    key = next(iter(one.state_dict))
    assert torch.equal(one.state_dict[key], same.state_dict[key])
    assert not torch.equal(one.state_dict[key], other.state_dict[key])
    assert (len(one.schema), one.config["pipeline"][1]["size"]) == (37, [64, 64])
    one.save(tmp_path / "a.pth")


def test_a_model_of_volumes_answers_in_the_millimetres_of_the_patient(tmp_path):
    pytest.importorskip("nibabel")
    made = [
        "--num-train",
        "0",
        "--num-test",
        "2",
        "--size",
        "20",
        "24",
        "22",
        "--out",
        str(tmp_path / "heads"),
    ]
    invoke("phantoms", ["--kind", "head", *made])
    inferencer = LandmarkInferencer(tiny_model(26, size=(16, 24, 24)), "cpu")
    predictions = list(inferencer(tmp_path / "heads" / "images"))
    write_predictions(iter(predictions), predictions[0].schema, tmp_path / "slicer", "slicer")
    for index, one in enumerate(predictions):
        world = sample_scene("head", 0, index, (20, 24, 22)).world_from_original
        assert one.points.shape == (26, 3)
        np.testing.assert_allclose(one.world_points, apply_matrix(world, one.points), atol=1e-3)
        (markup,) = read_json(tmp_path / "slicer" / f"{one.sample_id}.mrk.json")["markups"]
        written = [p.get("position", [np.nan] * 3) for p in markup["controlPoints"]]
        np.testing.assert_allclose(written, one.world_points, atol=1e-3)
