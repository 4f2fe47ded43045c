"""The spread of a map: the covariance of what it shows about its point."""

import pytest
import torch

from mmlandmark.codecs import HeatmapCodec, spread_of
from mmlandmark.ops import gaussian_heatmap


@pytest.mark.parametrize("dims", [2, 3])
def test_the_covariance_of_a_tilted_gaussian(dims):
    wanted = torch.tensor([[6.0, 2.0, 0.5], [2.0, 3.0, -0.5], [0.5, -0.5, 2.0]])[:dims, :dims]
    size, point = (27, 29, 31)[-dims:], torch.tensor([15.3, 14.1, 12.8])[:dims]
    grid = torch.stack(torch.meshgrid(*[torch.arange(s) for s in size], indexing="ij")[::-1], -1)
    offsets = grid - point
    maps = torch.exp(-0.5 * ((offsets @ wanted.inverse()) * offsets).sum(-1))[None, None]
    pixel = point.round().long()[None, None]
    found = spread_of(maps, point[None, None], pixel, radius=12)
    torch.testing.assert_close(found[0, 0], wanted, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_codec_measures_in_pixels_of_the_input(stride, activation):
    codec = HeatmapCodec(sigma=2.0, activation=activation)
    points = torch.tensor([[[20.0, 17.3], [15.6, 18.0]]])
    maps = gaussian_heatmap(points, (36, 40), 2.0)
    maps = maps / maps.sum((-2, -1), keepdim=True) if activation else maps
    spread = codec.decode(maps, (36 * stride, 40 * stride), spread=True).spread
    # A window of three sigma holds all but a little of a Gaussian.
    wanted = 4.0 * stride**2 * torch.eye(2).expand(1, 2, 2, 2)
    torch.testing.assert_close(spread, wanted, rtol=0.06, atol=0.06 * stride**2)


def test_a_second_peak_nearby_widens_the_spread_along_it():
    one = gaussian_heatmap(torch.tensor([[[20.0, 20.0]]]), (41, 41), 1.5)
    two = one + 0.8 * gaussian_heatmap(torch.tensor([[[24.0, 20.0]]]), (41, 41), 1.5)
    codec = HeatmapCodec(sigma=1.5, window=8)
    plain, widened = (codec.decode(m, (41, 41), spread=True).spread[0, 0] for m in (one, two))
    assert widened[0, 0] > 2 * plain[0, 0]
    assert widened[1, 1] < 1.5 * plain[1, 1]


def test_it_is_positive_semi_definite_for_any_map():
    torch.manual_seed(0)
    maps = torch.randn(4, 5, 12, 9)
    maps[0, 0] = -1.0  # nothing positive: the window itself
    maps[0, 1] = 0.0
    spread = HeatmapCodec(sigma=2).decode(maps, (24, 18), spread=True).spread
    assert torch.isfinite(spread).all()
    torch.testing.assert_close(spread, spread.mT)
    assert (torch.linalg.eigvalsh(spread) >= -1e-5).all()
    assert spread[0, 0].diagonal().min() > 1
