"""Batches at the edge of what can be learnt from: nothing annotated, and one image behind a batch norm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.engine import LandmarkRunner
from mmlandmark.registry import TRANSFORMS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


@TRANSFORMS.register_module()
class ForgetLandmarks:
    """Leaves no landmark to some samples."""

    def __init__(self, ids):
        self.ids = set(ids)

    def __call__(self, results):
        if results["sample_id"] in self.ids:
            results["landmarks"] = np.full_like(results["landmarks"], np.nan)
        return results


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
    loader["dataset"]["pipeline"].insert(-1, dict(type="ForgetLandmarks", ids=forgotten))
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
