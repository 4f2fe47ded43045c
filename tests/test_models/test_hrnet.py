"""HRNet: published size, levels and names."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.models.backbones import HRNet
from test_models.backbone_cases import check_levels, check_parameters


@pytest.mark.parametrize(("config", "expected"), [(dict(width=18, out_indices=(0,)), 9_317_892)], ids=str)
def test_parameters(config, expected):
    check_parameters(dict(config, type="HRNet"), expected)


@pytest.mark.parametrize(
    ("config", "channels", "strides"),
    [
        (dict(width=18), [18, 36, 72, 144], [4, 8, 16, 32]),
        (dict(width=32), [32, 64, 128, 256], [4, 8, 16, 32]),
    ],
    ids=str,
)
def test_levels(config, channels, strides):
    check_levels(dict(config, type="HRNet"), channels, strides)


def test_names_are_those_of_the_official_hrnet():
    names = set(HRNet(width=18).state_dict())
    for published in (
        "conv2.weight",
        "bn2.running_var",
        "layer1.0.downsample.0.weight",
        "transition1.0.0.weight",
        "transition1.1.0.0.weight",
        "stage2.0.branches.1.3.bn2.bias",
        "stage2.0.fuse_layers.0.1.0.weight",
        "stage3.3.fuse_layers.2.0.0.0.weight",
        "stage3.3.fuse_layers.2.0.1.1.weight",
        "transition3.3.0.1.running_mean",
        "stage4.2.fuse_layers.3.0.2.0.weight",
    ):
        assert published in names


def test_sides_that_do_not_halve_are_named():
    with pytest.raises(ValueError, match="size_divisor=32"):
        HRNet(width=4, modules=(1, 1, 1))(torch.rand(1, 3, 100, 100))
