"""The dilated block: its parameters, what it sees, and a U-Net of it."""

import itertools

import pytest
import torch

from mmlandmark.models.backbones import UNet
from mmlandmark.models.dilated_block import DilatedBlock


def count(model):
    return sum(p.numel() for p in model.parameters())


def block_parameters(channels, channels_out):
    """A branch of a pixel, three of 9, their biases, and the two parameters of a batch norm."""
    return channels * (channels_out // 4) * (1 + 3 * 9) + channels_out + 2 * channels_out


def test_parameters():
    options = dict(bias=True, norm_cfg=dict(type="BN"))
    assert count(DilatedBlock(256, 256, **options)) == block_parameters(256, 256) == 459_008 + 512
    bare = count(DilatedBlock(64, 64, bias=False))
    assert bare == 7 / 18 * (2 * 9 * 64 * 64)  # of two plain convolutions


@pytest.mark.parametrize("dims", [2, 3])
def test_its_branches_see_1_3_5_and_9_pixels(dims):
    torch.manual_seed(0)
    block = DilatedBlock(1, 8, bias=False, conv_cfg=dict(type=f"Conv{dims}d"), act_cfg=None)
    image = torch.zeros(1, 1, *[13] * dims)
    image[(0, 0, *[6] * dims)] = 1.0
    features = block(image)
    assert features.shape == (1, 8, *[13] * dims)
    for branch, (reach, step) in enumerate([(0, 1), (1, 1), (2, 2), (4, 4)]):
        seen = features[0, 2 * branch].nonzero() - 6
        places = {0} if branch == 0 else {-reach, 0, reach}
        assert {int(p) for p in seen.flatten()} == places, step
        assert len(seen) == len(places) ** dims


def test_kernel_and_stride_per_axis():
    block = DilatedBlock(2, 4, (1, 3, 3), stride=(1, 2, 2), conv_cfg=dict(type="Conv3d"))
    assert block(torch.rand(1, 2, 5, 9, 8)).shape == (1, 4, 5, 5, 4)
    with pytest.raises(ValueError, match="multiple of 4 channels, got 6"):
        DilatedBlock(2, 6)


def test_parameters_of_the_modified_unet():
    """Every pair of convolutions of a U-Net is a dilated block: 12.2 million parameters of 31.4 million."""
    widths = (64, 128, 256, 512, 1024)
    options = dict(norm_cfg=dict(type="BN"), act_cfg=dict(type="ReLU"))
    with torch.device("meta"):
        model = UNet(1, widths, dilated=True, **options)
        plain = UNet(1, widths, **options)
    down = sum(block_parameters(a, b) for a, b in zip((1, *widths[:-1]), widths, strict=True))
    up = sum(block_parameters(a + b, a) for a, b in itertools.pairwise(widths))
    assert count(model) == down + up == 12_194_880
    assert count(plain) > 2.4 * count(model)
    assert model(torch.empty(1, 1, 64, 80, device="meta"))[0].shape == (1, 64, 64, 80)


def test_a_modified_unet_in_volumes():
    model = UNet(1, (4, 8), 3, dilated=True, downsample="conv", upsample="transposed")
    (features,) = model(torch.rand(1, 1, 8, 9, 12))
    assert features.shape == (1, 4, 8, 9, 12)
    features.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())
