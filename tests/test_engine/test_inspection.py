"""What a network computes of one image, for pictures."""

from __future__ import annotations

import torch

from mmlandmark.engine.inspection import annotated_maps, finest_blocks, seen_by
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.testing import tiny_config


def detector(**backbone):
    torch.manual_seed(0)
    config = tiny_config("unused").model
    config.backbone.update(backbone)
    config.head.num_landmarks = 3
    return MODELS.build(config).eval()


def test_features_by_path_and_then_the_heatmaps():
    model, inputs = detector(), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        named = seen_by(model, inputs, ["backbone.down1", "backbone.up1"])
        maps = model.head.codec.activate(model.raw_maps(inputs))[0]
    assert [name for name, _ in named] == ["backbone.down1", "backbone.up1", "heatmaps"]
    assert [tuple(value.shape) for _, value in named] == [(8, 32, 32), (8, 32, 32), (3, 32, 32)]
    assert torch.equal(named[-1][1], maps)


def test_maps_of_the_annotation_are_zero_where_it_is_missing():
    points = torch.tensor([[8.0, 20.0], [float("nan")] * 2, [25.0, 4.0]])
    sample = LandmarkDataSample.from_landmarks(points.numpy(), sample_id="a", ori_shape=(32, 32))
    maps = annotated_maps(detector(), torch.rand(1, 1, 32, 32), sample, (32, 32))
    assert maps.shape == (3, 32, 32)
    assert maps[0].argmax().item() == 20 * 32 + 8
    assert maps[1].abs().max() == 0
    assert maps[2].argmax().item() == 4 * 32 + 25


def test_the_finest_blocks_come_last():
    assert finest_blocks(detector(widths=(4, 6, 8, 8))) == ["backbone.up2", "backbone.up3"]
    assert finest_blocks(detector(widths=(4, 6, 8, 8)), 1) == ["backbone.up3"]

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Identity()

    assert finest_blocks(Plain()) == ["backbone"]
