"""The residual block of nnU-Net's encoders."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlandmark.models.residual_block import ResidualBlock

OPTIONS = dict(
    norm_cfg=dict(type="IN3d", affine=True), conv_cfg=dict(type="Conv3d"), act_cfg=dict(type="LeakyReLU")
)


def test_it_starts_as_its_shortcut():
    torch.manual_seed(0)
    block = ResidualBlock(4, 4, (3, 3, 3), (1, 2, 2), **OPTIONS)
    features = torch.randn(2, 4, 4, 8, 8)
    torch.testing.assert_close(block(features), F.leaky_relu(F.avg_pool3d(features, (1, 2, 2))))


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
def test_a_shortcut_follows_width_and_stride(stride):
    block = ResidualBlock(3, 5, (1, 3, 3), stride, **OPTIONS)
    out = block(torch.rand(1, 3, 5, 7, 6))  # sides that are no multiples
    assert out.shape == (1, 5, *(-(-side // s) for side, s in zip((5, 7, 6), stride, strict=True)))
    projection = block.shortcut[-1].conv
    assert projection.weight.shape == (5, 3, 1, 1, 1)
    assert projection.bias is None
    assert len(block.shortcut) == 1 + (max(stride) > 1)
    assert len(ResidualBlock(3, 3, (1, 3, 3), (1, 1, 1), **OPTIONS).shortcut) == 0


def test_without_norm_and_activation():
    block = ResidualBlock(2, 2, (3, 3), (1, 1), norm_cfg=None, act_cfg=None)
    image = torch.rand(1, 2, 4, 4)
    torch.testing.assert_close(block(image) - image, block.conv2(block.conv1(image)))
    assert isinstance(block.act, nn.Identity)
