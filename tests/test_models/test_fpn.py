"""The feature pyramid."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.models.necks import FPN


@pytest.mark.parametrize("dims", [2, 3])
def test_pyramid(dims):
    pyramid = FPN([4, 8, 8], channels=6, upsample_to=2, dims=dims)
    size = (8, 16, 24)[-dims:]
    (output,) = pyramid([torch.rand(1, c, *(s // 2**i for s in size)) for i, c in enumerate([4, 8, 8])])
    assert output.shape == (1, 6, *(2 * s for s in size))
    assert pyramid.out_channels == [6]


def test_every_level_reaches_the_finest():
    torch.manual_seed(0)
    pyramid = FPN([3, 4, 5], channels=6)
    levels = [torch.rand(1, c, 16 // 2**i, 8 // 2**i, requires_grad=True) for i, c in enumerate([3, 4, 5])]
    laterals = [lateral(level) for lateral, level in zip(pyramid.laterals, levels, strict=True)]
    (output,) = pyramid(levels)

    def up(x):
        return torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    torch.testing.assert_close(output, pyramid.output(laterals[0] + up(laterals[1] + up(laterals[2]))))
    output.sum().backward()
    assert all(level.grad.any() for level in levels)
