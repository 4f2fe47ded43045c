"""VGG: published sizes and levels."""

from __future__ import annotations

import pytest

from mmlandmark.models.backbones import VGG
from test_models.backbone_cases import check_against_torchvision, check_levels, check_parameters


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (dict(depth=16), 14_714_688),
        (dict(depth=16, batch_norm=True), 14_723_136),
        (dict(depth=19), 20_024_384),
        (dict(depth=19, batch_norm=True), 20_035_392),
    ],
    ids=str,
)
def test_parameters(config, expected):
    check_parameters(dict(config, type="VGG"), expected)


@pytest.mark.parametrize(
    ("config", "channels", "strides"),
    [
        (dict(depth=16), [64, 128, 256, 512, 512], [1, 2, 4, 8, 16]),
        (dict(depth=19, batch_norm=True), [64, 128, 256, 512, 512], [1, 2, 4, 8, 16]),
    ],
    ids=str,
)
def test_levels(config, channels, strides):
    check_levels(dict(config, type="VGG"), channels, strides)


@pytest.mark.parametrize(
    ("config", "origin"), [(dict(depth=16), "vgg16"), (dict(depth=19, batch_norm=True), "vgg19_bn")], ids=str
)
def test_torchvision_computes_the_same(config, origin, tmp_path):
    def last(theirs, image):
        return theirs.features[:-1](image)  # our last level lies before the last pooling

    check_against_torchvision(dict(config, type="VGG"), origin, last, tmp_path)


def test_five_widths_are_needed():
    with pytest.raises(ValueError, match="VGG has five blocks"):
        VGG(widths=(4, 4, 8, 8))
