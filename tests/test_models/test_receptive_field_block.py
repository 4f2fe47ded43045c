"""The block that sees surroundings at several distances."""

import pytest
import torch

from mmlandmark.models.receptive_field_block import ReceptiveFieldBlock


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("channels", [4, 16, 256])
def test_its_parameters_are_those_of_the_publication(channels):
    with torch.device("meta"):
        assert parameters(ReceptiveFieldBlock(channels)) == 98 * channels**2 + 30 * channels


@pytest.mark.parametrize("dims", [2, 3])
def test_it_sees_as_far_as_its_largest_branch(dims):
    """Kernels of 7 along every axis, then a dilation of 7 and the joining kernel: 3 + 7 + 1 pixels."""
    torch.manual_seed(0)
    block = ReceptiveFieldBlock(2, 3, dims, norm_cfg=None)
    image = torch.zeros(1, 2, *[41 if axis == 0 else 9 for axis in range(dims)], requires_grad=True)
    block.activate = torch.nn.Identity()  # where it is 0, nothing would be seen
    output = block(image + 0.1)
    assert output.shape == (1, 3, *image.shape[2:])
    output[(0, slice(None), 20, *[4] * (dims - 1))].sum().backward()
    rows = image.grad.abs().sum((0, 1, *range(3, 2 + dims))).nonzero().flatten()
    assert (int(rows.min()), int(rows.max())) == (20 - 11, 20 + 11)


def test_only_the_sum_is_activated():
    torch.manual_seed(0)
    block = ReceptiveFieldBlock(4)
    kinds = [type(m).__name__ for m in block.modules()]
    assert kinds.count("ReLU") == 1
    assert kinds.count("Conv2d") == kinds.count("BatchNorm2d") == 1 + 3 * 4 + 2
    assert not (block(torch.randn(2, 4, 9, 9)) < 0).any()
