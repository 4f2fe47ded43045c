"""Small backbones of every family, and what is checked of each."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.models.backbones import PretrainedBackbone
from mmlandmark.registry import MODELS

SMALL = [
    dict(type="DenseNet", growth_rate=4, block_layers=(2, 2, 2, 2), stem_channels=8),
    dict(type="VGG", batch_norm=True, widths=(4, 4, 8, 8, 8)),
    dict(type="EfficientNetLite", stage_blocks=(1, 1, 1, 1, 1, 1, 0)),
    dict(type="ResNet", depth=18, base_channels=4),
    dict(type="HRNet", width=4, modules=(1, 1, 1)),
]


def name(value: object) -> str:
    return "-".join(str(v) for v in value.values()) if isinstance(value, dict) else ""


def build(config: dict, **kwargs) -> PretrainedBackbone:
    return MODELS.build(dict(config, **kwargs))


def check_parameters(config: dict, expected: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build(config).parameters()) == expected


def check_levels(config: dict, channels: list[int], strides: list[int]) -> None:
    with torch.device("meta"):
        model = build(config)
        levels = model(torch.empty(1, 3, 64, 96))
    assert model.out_channels == channels
    assert model.strides == strides
    shapes = [(1, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]
    assert [tuple(level.shape) for level in levels] == shapes


def check_against_torchvision(config: dict, origin: str, last_of, tmp_path) -> None:
    """Compare with torchvision's network: ``last_of(theirs, image)`` is what our last level should be."""
    models = pytest.importorskip("torchvision.models", reason="compares with torchvision")
    torch.manual_seed(0)
    theirs = getattr(models, origin)(weights=None).eval()
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    ours = build(config, init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    ours.init_weights()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(ours.eval()(image)[-1], last_of(theirs, image))
