"""Batches at the edge of what can be learnt from: nothing annotated, and one image behind a batch norm."""

from __future__ import annotations

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.engine import LandmarkRunner
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


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
