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


@pytest.mark.parametrize("dims", [2, 3])
def test_the_global_level_stays_out_of_the_pyramid(dims):
    torch.manual_seed(0)
    pyramid = FPN([3, 4, 5], channels=6, global_level=True, dims=dims)
    levels = [torch.rand(1, c, *(16 // 2**i,) * dims, requires_grad=True) for i, c in enumerate([3, 4, 5])]
    local, deep = pyramid(levels)
    assert pyramid.out_channels == [6, 6]
    torch.testing.assert_close(deep, pyramid.global_output(pyramid.laterals[2](levels[2])))
    torch.testing.assert_close(local, _two_levels(pyramid)(levels[:2])[0])
    local.sum().backward()
    assert levels[2].grad is None
    with pytest.raises(ValueError, match="FPN needs two levels or more for a global one"):
        FPN([3], global_level=True)


def _two_levels(pyramid):
    """Return the plain pyramid of its first two levels."""
    plain = FPN([3, 4], channels=6, dims=pyramid.dims)
    own = plain.state_dict()
    plain.load_state_dict({key: value for key, value in pyramid.state_dict().items() if key in own})
    return plain
