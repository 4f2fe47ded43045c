"""A step of CC2D by the batch and image by image."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mmlandmark.models.losses import CascadeContrastLoss
from mmlandmark.models.similarity import PatchPair
from mmlandmark.testing import contrast_costs


def test_both_ways_are_the_same_loss_of_the_same_points(monkeypatch):
    torch.manual_seed(0)
    np.random.seed(0)
    batch, size, channels = 3, 128, 5
    features = contrast_costs.embeddings(batch, size, channels)
    patches = contrast_costs.embeddings(batch, size // 2, channels)
    points = []
    original = contrast_costs._point_in_patch

    def point(image):
        points.append(original(image))
        return points[-1]

    monkeypatch.setattr(contrast_costs, "_point_in_patch", point)
    images = torch.rand(batch, 1, size, size)
    slow = contrast_costs.one_by_one(images, features, patches)
    own, inside = (torch.from_numpy(np.stack(each))[:, None].double() for each in zip(*points, strict=True))
    mask = torch.ones(batch, 1, dtype=torch.bool)
    pair = PatchPair(features, patches, own, inside, mask, (size, size), (size // 2, size // 2))
    assert CascadeContrastLoss()(pair).item() == pytest.approx(slow.item(), rel=1e-5)
    for fast, plain in zip(
        torch.autograd.grad(CascadeContrastLoss()(pair), [*features, *patches]),
        torch.autograd.grad(slow, [*features, *patches]),
        strict=True,
    ):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-6)


def test_times_and_their_ratio_are_recorded(tmp_path, capsys):
    record = tmp_path / "contrast.json"
    contrast_costs.main([str(record), "--batch", "2", "--size", "64", "--rounds", "2"])
    made = json.loads(record.read_text())
    assert made["seconds"].keys() == {contrast_costs.TOGETHER, contrast_costs.ONE_BY_ONE}
    assert made["ratio"] > 0
    assert (made["batch"], made["size"], made["rounds"], made["threads"]) == (2, 64, 2, 1)
    assert f"{made['ratio']} times" in capsys.readouterr().out
