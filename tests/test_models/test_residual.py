"""The blocks of ResNet and HRNet."""

import pytest
import torch

from mmlandmark.models.backbones.residual import BasicBlock, Bottleneck, start_residual


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("stride", [1, 2])
def test_shapes_and_shortcuts(block, stride):
    one = block(8, 4, stride)
    out = one(torch.rand(2, 8, 8, 12))
    assert out.shape == (2, 4 * block.expansion, 8 // stride, 12 // stride)
    # A shortcut is a convolution only where the shape changes.
    assert (one.downsample is None) == (stride == 1 and 4 * block.expansion == 8)
    assert block(4 * block.expansion, 4).downsample is None


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_that_adds_nothing_is_its_shortcut(block):
    one, features = block(4 * block.expansion, 4).eval(), torch.rand(1, 4 * block.expansion, 6, 6)
    torch.nn.init.zeros_(getattr(one, "bn3", one.bn2).weight)
    torch.testing.assert_close(one(features), features)


def test_the_start_follows_the_fan_out():
    torch.manual_seed(0)
    block = BasicBlock(64, 128)
    start_residual(block)
    assert float(block.conv1.weight.detach().std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.05)
