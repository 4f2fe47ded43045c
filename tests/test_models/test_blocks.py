"""What decoders, necks and heads are made of."""

import pytest
import torch
from mmengine.model import Sequential

from mmlandmark.models.blocks import (
    conv_block,
    enlarged,
    he_block,
    norm_of_dims,
    per_axis,
    per_level,
    space_to_depth,
    start_as_pytorch,
    upsample,
)


@pytest.mark.parametrize("dims", [2, 3])
def test_blocks_of_pixels_become_channels(dims):
    image = torch.rand(2, 3, *(4, 8, 6)[-dims:])
    blocks = space_to_depth(image, 2)
    assert blocks.shape == (2, 3 * 2**dims, *(side // 2 for side in image.shape[2:]))
    # Channel c, then the offset within the block, last axis fastest.
    corner = (slice(None), slice(None), *[slice(0, None, 2)] * (dims - 1), slice(1, None, 2))
    assert torch.equal(blocks[:, 1 :: 2**dims], image[corner])
    if dims == 2:
        assert torch.equal(blocks, torch.nn.functional.pixel_unshuffle(image, 2))
    with pytest.raises(ValueError, match="size_divisor=2"):
        space_to_depth(image[..., :-1], 2)


def test_a_dilated_block_keeps_the_size():
    assert conv_block(2, 3, 3, dilation=4)(torch.rand(1, 2, 8, 12)).shape == (1, 3, 8, 12)
    thick = conv_block(2, 3, (1, 3, 5), dilation=2, conv_cfg=dict(type="Conv3d"))
    assert thick(torch.rand(1, 2, 3, 8, 12)).shape == (1, 3, 3, 8, 12)


def test_enlarged_maps_cover_what_they_covered():
    line = torch.arange(4.0).view(1, 1, 1, 4)
    assert enlarged(line, 1) is line
    # The centres of the pixels move by the half-pixel convention.
    assert enlarged(line, 2)[0, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert enlarged(torch.rand(1, 2, 3, 4, 5), 3).shape == (1, 2, 9, 12, 15)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_block_keeps_the_size_or_halves_it(kernel, stride):
    block = conv_block(2, 3, kernel, stride=stride, norm_cfg=dict(type="BN"), act_cfg=dict(type="ReLU"))
    out = block(torch.rand(2, 2, 8, 12))
    assert out.shape == (2, 3, 8 // stride, 12 // stride)
    assert out.min() >= 0


def test_blocks_of_thick_slices():
    volume = torch.rand(1, 2, 3, 4, 6)
    blocks = space_to_depth(volume, (1, 2, 3))
    assert blocks.shape == (1, 12, 3, 2, 2)
    assert torch.equal(blocks[:, 0], volume[:, 0, :, ::2, ::3])
    with pytest.raises(ValueError, match="size_divisor=6"):
        space_to_depth(volume[..., :-1], (1, 2, 3))


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize("kernel", [(3, 5), (1, 3, 5)])
def test_a_block_started_as_in_he(padding, kernel):
    block = he_block(2, 4, kernel, padding, norm_cfg=dict(type="BN"), act_cfg=dict(type="ReLU"))
    image = torch.rand(2, 2, *(4, 6, 8)[-len(kernel) :])
    assert block(image).shape == (2, 4, *image.shape[2:])
    assert [type(m).__name__ for m in block] == [f"Conv{len(kernel)}d", f"BatchNorm{len(kernel)}d", "ReLU"]
    ones = he_block(1, 1, kernel, padding, act_cfg=None)
    torch.nn.init.ones_(ones[0].weight)
    borders = ones(torch.ones_like(image[:, :1]))[0, 0].detach()
    assert (float(borders.min()) == float(borders.max())) == (padding != "zeros")


def test_one_number_or_one_per_axis_and_level():
    assert per_axis(2, 3, "it") == (2, 2, 2)
    assert per_axis([1, 2], 2, "it") == (1, 2)
    for wrong in (0, (1, 2, 3), (1, -1), (1.0, 2)):
        with pytest.raises(ValueError, match="it must be a number from 1 on, or 2 of them in array order"):
            per_axis(wrong, 2, "it")
    assert per_level(3, 2, "it") == [3, 3]
    assert per_level(((1, 2), 3), 2, "it") == [(1, 2), 3]
    with pytest.raises(ValueError, match="it needs one entry for each of the 2 levels"):
        per_level((1, 2, 3), 2, "it")


def test_an_instance_norm_with_weights_can_be_exported():
    block = conv_block(1, 2, norm_cfg=dict(type="IN", affine=True)).eval()
    image = torch.rand(1, 1, 4, 4)
    assert set(block.state_dict()) == {
        "conv.weight",
        "instance_norm.weight",
        "instance_norm.bias",
    }
    exported = torch.export.export(block, (image,)).module()
    torch.testing.assert_close(exported(image), block(image))


def test_norms_get_the_dimension():
    assert norm_of_dims(dict(type="BN"), 3) == dict(type="BN3d")
    assert norm_of_dims(dict(type="IN", affine=True), 2) == dict(type="IN2d", affine=True)
    assert norm_of_dims(dict(type="GN", num_groups=2), 3) == dict(type="GN", num_groups=2)
    assert norm_of_dims(None, 2) is None


def test_upsampling_to_the_size_of_others():
    assert upsample(torch.rand(1, 2, 4, 5), torch.rand(1, 3, 9, 11)).shape == (1, 2, 9, 11)
    assert upsample(torch.rand(1, 2, 2, 4, 5), torch.rand(1, 3, 4, 9, 11)).shape == (1, 2, 4, 9, 11)


def test_the_start_is_that_of_pytorch_for_good():
    block = dict(norm_cfg=None, act_cfg=None)
    ours, mmcvs = Sequential(conv_block(64, 64, **block)), Sequential(conv_block(64, 64, **block))
    start_as_pytorch(ours)
    bound = (64 * 9) ** -0.5
    for network in (ours, mmcvs):
        network.init_weights()  # as a runner does before training
        largest = float(network[0].conv.weight.detach().abs().max())
        assert (largest <= bound) == (network is ours)
