"""Batches at the edge of what can be learnt from: without landmarks, of one image, with a broken image."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.engine import LandmarkRunner
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from test_datasets import six_cases
from two_processes import in_two


class Keep(Hook):
    """Keeps the loss of every step."""

    def __init__(self, losses):
        self.losses = losses

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs["loss"].item())


@pytest.mark.parametrize("mixed", [False, True], ids=["whole batches", "half of each batch"])
def test_images_without_landmarks_are_no_reason_to_fail(tmp_path, mixed):
    loader = phantom_dataloader()
    loader["sampler"]["shuffle"] = False
    forgotten = ["ceph_0_000000", "ceph_0_000002" if mixed else "ceph_0_000001"]
    loader["dataset"]["pipeline"].insert(-1, dict(type="planted_samples.ForgetLandmarks", ids=forgotten))
    runner = LandmarkRunner.from_cfg(tiny_config(tmp_path, max_epochs=1, train_dataloader=loader))
    losses = []
    runner.register_hook(Keep(losses), priority="LOWEST")
    runner.train()
    assert [loss > 0 for loss in losses] == ([True, True] if mixed else [False, True])
    weights = load_checkpoint(tmp_path / "epoch_1.pth")["state_dict"]
    assert all(torch.isfinite(w.float()).all() for w in weights.values())


def test_one_image_is_enough_for_a_batch_norm_of_maps(tmp_path):
    loader = phantom_dataloader(num_samples=1, batch_size=1)
    config = tiny_config(tmp_path, max_epochs=2, train_dataloader=loader)
    LandmarkRunner.from_cfg(config).train()
    weights = load_checkpoint(tmp_path / "epoch_2.pth")["state_dict"]
    assert all(torch.isfinite(w.float()).all() for w in weights.values())


def down_to_a_pixel(folder, num_samples, norm=None, **loader):
    """Return the config of a run with a network whose deepest maps have one pixel."""
    train = dict(phantom_dataloader(num_samples=num_samples, size=(32, 32)), **loader)
    config = tiny_config(folder, max_epochs=1, train_dataloader=train, val_cfg=None)
    config.val_dataloader = config.val_evaluator = None
    config.model.backbone.update(widths=(4, 4, 4, 4, 4, 4), norm_cfg=norm or dict(type="BN"))
    return config


@pytest.mark.parametrize(("batch_size", "num_samples"), [(1, 2), (2, 3)], ids=["every batch", "the last one"])
def test_a_batch_of_one_that_a_batch_norm_cannot_take_is_one_sentence(tmp_path, batch_size, num_samples):
    config = down_to_a_pixel(tmp_path, num_samples, batch_size=batch_size)
    with pytest.raises(
        ValueError,
        match=r"^a batch of 1 \(ceph_0_00000\d\) reaches a batch norm as one map of one pixel, .*: set "
        r"train_dataloader\.batch_size to 2 .*train_dataloader\.drop_last=True .*norm_cfg=dict\(type='GN'",
    ):
        LandmarkRunner.from_cfg(config).train()


@pytest.mark.parametrize(
    "change",
    [dict(batch_size=2, drop_last=True), dict(batch_size=1, norm=dict(type="GN", num_groups=2))],
    ids=["drop_last", "GN"],
)
def test_what_that_sentence_advises_helps(tmp_path, change):
    LandmarkRunner.from_cfg(down_to_a_pixel(tmp_path, 3, **change)).train()
    assert load_checkpoint(tmp_path / "epoch_1.pth")["meta"]["iter"] == (1 if "drop_last" in change else 3)


# ---- processes that differ ---------------------------------------------------------------------------------


def of_four_images(folder, processes, loader):
    """Return the config of a run whose steps see four images, and whose network sees each by itself."""
    loader = dict(loader, batch_size=4 // processes, sampler=dict(type="DefaultSampler", shuffle=False))
    config = tiny_config(folder, param_scheduler=None)
    config.train_dataloader = loader
    config.model.backbone.norm_cfg = dict(type="GN", num_groups=2)
    config.optim_wrapper.optimizer = dict(type="SGD", lr=0.01)
    config.launcher = "pytorch" if processes > 1 else "none"
    return config


def with_forgotten_landmarks(folder, processes):
    """The second of two processes has no landmark in its first batch."""
    loader = phantom_dataloader(num_samples=8)
    forget = dict(type="planted_samples.ForgetLandmarks", ids=["ceph_0_000001", "ceph_0_000003"])
    loader["dataset"]["pipeline"].insert(-1, forget)
    return of_four_images(folder, processes, loader)


def with_a_broken_image(folder, processes):
    """The second of two processes cannot read the first image of every epoch, and takes the one after it."""
    root = folder.parent / "data"
    steps = phantom_dataloader(train=False)["dataset"]["pipeline"]
    data = dict(type="LandmarkDataset", ann_file="all.json", data_root=str(root), image_dir="images")
    data = dict(data, pipeline=steps, serialize_data=False)
    loader = phantom_dataloader()
    loader["dataset"] = dict(data, split="train", on_error="skip")
    config = of_four_images(folder, processes, loader)
    config.model.head.num_landmarks = 3
    for part in ("val", "test"):
        config[f"{part}_dataloader"].dataset = dict(data, split="test")
    return config


HARD = dict(forgotten=with_forgotten_landmarks, broken=with_a_broken_image)


def train_all(folder, processes):
    for name, make in HARD.items():
        LandmarkRunner.from_cfg(make(folder / name, processes)).train()


@pytest.fixture(scope="module")
def in_one_and_in_two(tmp_path_factory):
    """Return the folders of runs in one process and in two."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    for folder in folders:
        (folder / "data").mkdir()
        path = six_cases.write(folder / "data") / "images" / "case1.png"
        path.write_bytes(path.read_bytes()[:-20])
    train_all(folders[0], 1)
    in_two(train_all, folders[1], 2)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_a_process_whose_batch_is_hard_learns_with_the_other_what_one_process_learns(in_one_and_in_two, name):
    one, two = (load_checkpoint(folder / name / "epoch_2.pth") for folder in in_one_and_in_two)
    assert one["meta"]["iter"] == two["meta"]["iter"] == (4 if name == "forgotten" else 2)
    before = load_checkpoint(in_one_and_in_two[0] / name / "epoch_1.pth")["state_dict"]
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][key], value, rtol=1e-5, atol=1e-6, msg=key)
    assert max((value - before[key]).abs().max() for key, value in one["state_dict"].items()) > 1e-3


@pytest.mark.slow
def test_an_image_that_one_process_leaves_out_is_reported_once(in_one_and_in_two):
    for folder in in_one_and_in_two:
        written = json.loads((folder / "broken" / "left_out.json").read_text(encoding="utf-8"))
        assert written["images"] == 4
        assert [row["sample_id"] for row in written["left_out"]] == ["case1"]
        text = "".join(path.read_text(encoding="utf-8") for path in (folder / "broken").glob("*/*.log"))
        assert "1 of 4 images could not be read and were left out (case1): " in text
