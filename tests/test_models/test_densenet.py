"""DenseNet: published sizes, levels and names."""

from __future__ import annotations

import pytest

from mmlandmark.models.backbones import DenseNet
from test_models.backbone_cases import check_against_torchvision, check_levels, check_parameters


@pytest.mark.parametrize(
    ("config", "expected"), [(dict(depth=121), 6_953_856), (dict(depth=169), 12_484_480)], ids=str
)
def test_parameters(config, expected):
    check_parameters(dict(config, type="DenseNet"), expected)


@pytest.mark.parametrize(
    ("config", "channels", "strides"),
    [
        (dict(depth=121), [64, 256, 512, 1024, 1024], [2, 4, 8, 16, 32]),
        (dict(depth=169), [64, 256, 512, 1280, 1664], [2, 4, 8, 16, 32]),
    ],
    ids=str,
)
def test_levels(config, channels, strides):
    check_levels(dict(config, type="DenseNet"), channels, strides)


@pytest.mark.parametrize(
    ("config", "origin"), [(dict(depth=121), "densenet121"), (dict(depth=169), "densenet169")], ids=str
)
def test_torchvision_computes_the_same(config, origin, tmp_path):
    def last(theirs, image):
        return theirs.features(image)

    check_against_torchvision(dict(config, type="DenseNet"), origin, last, tmp_path)


def test_names_of_the_first_published_densenet():
    model = DenseNet(growth_rate=4)
    old = "features.denseblock1.denselayer2.norm.1.weight"
    assert model.rename(old) == "features.denseblock1.denselayer2.norm1.weight"
    assert all(model.rename(new) == new for new in model.state_dict())
