"""A training that leaves out broken images counts them, and says which they are."""

from __future__ import annotations

import json

import pytest

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.left_out_report import skipped_ids, skipping_parts
from mmlandmark.registry import DATASETS
from mmlandmark.testing import phantom_dataloader, tiny_config
from test_datasets import six_cases


def run_of(folder, part="train", **options):
    """The config of a run on six images, of which two of the training are cut off."""
    root = six_cases.write(folder)
    for name, left in (("case1.png", -20), ("case2.png", 12)):  # of the second not even the header is whole
        path = root / "images" / name
        path.write_bytes(path.read_bytes()[:left])
    steps = phantom_dataloader(train=False)["dataset"]["pipeline"]
    data = dict(type="LandmarkDataset", ann_file="all.json", data_root=str(root), image_dir="images")
    config = tiny_config(folder / "run", max_epochs=2)
    config.model.head.num_landmarks = 3
    for name, split in (("train", "train"), ("val", "test"), ("test", "test")):
        config[f"{name}_dataloader"].dataset = dict(data, split=split, pipeline=steps)
    config[f"{part}_dataloader"].dataset.update(options)
    config.train_dataloader.num_workers = 1
    return config


def test_a_broken_image_ends_a_training_and_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"case[12]\.png"):
        LandmarkRunner.from_cfg(run_of(tmp_path)).train()
    assert not (tmp_path / "run" / "left_out.json").exists()


def test_images_that_are_left_out_are_counted_and_listed(tmp_path):
    runner = LandmarkRunner.from_cfg(run_of(tmp_path, on_error="skip"))
    runner.train()
    assert (tmp_path / "run" / "epoch_2.pth").is_file()
    written = json.loads((tmp_path / "run" / "left_out.json").read_text(encoding="utf-8"))
    assert written["images"] == 4
    assert [row["sample_id"] for row in written["left_out"]] == ["case1", "case2"]
    assert written["left_out"][0]["image"] == str(tmp_path / "images" / "case1.png")
    (log,) = (tmp_path / "run").glob("*/*.log")
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if "image left out: image '" in line]) == 2
    (line,) = (line for line in lines if "were left out" in line)
    assert "2 of 4 images could not be read and were left out (case1, case2): " in line


def test_a_validation_leaves_nothing_out(tmp_path):
    runner = LandmarkRunner.from_cfg(run_of(tmp_path, part="val", on_error="skip"))
    with pytest.raises(ValueError, match=r"val_dataloader\.dataset: on_error='skip', .* is for training"):
        runner.train()


def test_data_sets_inside_of_others_count(tmp_path):
    config = run_of(tmp_path, on_error="skip").train_dataloader.dataset
    dataset = DATASETS.build(dict(type="RepeatDataset", times=2, dataset=config))
    assert skipping_parts(dataset) == [dataset.dataset]
    assert skipped_ids(dataset) == {"case0", "case1", "case2", "case3"}
    other = DATASETS.build(dict(config, on_error="raise"))
    assert (skipping_parts(other), skipped_ids(other)) == ([], set())
