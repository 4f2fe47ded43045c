"""Convolutions at the size of the image."""

import pytest
import torch
import torch.nn.functional as F

from mmlandmark.models.backbones import ConvStack


def test_parameters_of_the_published_local_part():
    with torch.device("meta"):
        model = ConvStack()
    assert sum(p.numel() for p in model.parameters()) == 25 * 128 + 128 + 2 * (25 * 128**2 + 128)


def test_one_convolution_after_the_other():
    torch.manual_seed(0)
    model, image = ConvStack(1, (3, 4), (3, 5)), torch.rand(2, 1, 7, 9)
    expected = image
    for block, reach in zip(model.convs, (1, 2), strict=True):
        expected = F.relu(F.conv2d(expected, block[0].weight, block[0].bias, padding=reach))
    torch.testing.assert_close(model(image)[0], expected)


def test_volumes_with_a_kernel_per_axis():
    model = ConvStack(1, (3, 4), [(1, 3, 3), 3], dims=3, padding_mode="replicate")
    assert model(torch.rand(1, 1, 4, 6, 5))[0].shape == (1, 4, 4, 6, 5)
    assert model.out_channels == [4]


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least one width"):
        ConvStack(widths=())
    with pytest.raises(ValueError, match="must be odd"):
        ConvStack(kernel_sizes=4)
    with pytest.raises(ValueError, match="one entry for each of the 3 levels"):
        ConvStack(kernel_sizes=(3, 5))
