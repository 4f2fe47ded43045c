"""A network scores patches of images."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmlandmark.models import PatchDiscriminator


def test_its_layers_are_those_of_the_publication():
    model = PatchDiscriminator(20)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 128, 256, 512, 1]
    assert [layer.stride[0] for layer in convolutions] == [2, 2, 2, 1, 1]
    assert {layer.kernel_size for layer in convolutions} == {(4, 4)}
    assert sum(isinstance(layer, nn.InstanceNorm2d) for layer in model.modules()) == 3
    assert {layer.negative_slope for layer in model.modules() if isinstance(layer, nn.LeakyReLU)} == {0.2}
    assert sum(p.numel() for p in model.parameters()) == 2_782_145  # no weights in the norms
    assert model(torch.zeros(1, 20, 256, 256)).shape == (1, 1, 30, 30)  # the map of a PatchGAN


@pytest.mark.parametrize("widths", [(4, 8), (4, 8, 8, 16)])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_smallest_image_is_known_and_no_image_sees_the_others(dims, widths):
    model = PatchDiscriminator(2, dims, widths).train()
    images = torch.randn(3, 2, *[model.smallest] * dims, generator=torch.Generator().manual_seed(0))
    scores = model(images)
    assert scores.shape == (3, 1, *[1] * dims)
    torch.testing.assert_close(scores[1:2], model(images[1:2]))
    assert scores.std() > 1e-4
    with pytest.raises((ValueError, RuntimeError)):
        model(images[(..., *[slice(0, model.smallest // 3 * 2)] * dims)])
