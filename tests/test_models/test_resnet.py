"""ResNet: published sizes and levels."""

from __future__ import annotations

import pytest

from test_models.backbone_cases import check_against_torchvision, check_levels, check_parameters


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (dict(depth=18), 11_176_512),
        (dict(depth=34), 21_284_672),
        (dict(depth=50), 23_508_032),
        (dict(depth=101), 42_500_160),
        (dict(depth=152), 58_143_808),
    ],
    ids=str,
)
def test_parameters(config, expected):
    check_parameters(dict(config, type="ResNet"), expected)


@pytest.mark.parametrize(
    ("config", "channels", "strides"),
    [
        (dict(depth=18), [64, 64, 128, 256, 512], [2, 4, 8, 16, 32]),
        (dict(depth=34, pool=False), [64, 64, 128, 256, 512], [2, 2, 4, 8, 16]),
        (dict(depth=101), [64, 256, 512, 1024, 2048], [2, 4, 8, 16, 32]),
    ],
    ids=str,
)
def test_levels(config, channels, strides):
    check_levels(dict(config, type="ResNet"), channels, strides)


@pytest.mark.parametrize(
    ("config", "origin"), [(dict(depth=18), "resnet18"), (dict(depth=50), "resnet50")], ids=str
)
def test_torchvision_computes_the_same(config, origin, tmp_path):
    def last(theirs, image):
        outputs = []
        theirs.layer4.register_forward_hook(lambda m, i, out: outputs.append(out))
        theirs(image)
        return outputs[0]

    check_against_torchvision(dict(config, type="ResNet"), origin, last, tmp_path)
