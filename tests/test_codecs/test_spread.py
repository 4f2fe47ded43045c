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


WIDTHS = (3.0, 2.0, 1.2)


def volume_of(points, size=(20, 32, 36)):
    """Return a Gaussian of a width per axis for every one of (N, 3) points, and the codec that draws it."""
    codec = HeatmapCodec(WIDTHS, decoder="dark")
    ones = torch.ones(1, len(points))
    return codec, codec.encode(torch.tensor(points)[None], ones.bool(), ones, size, size).heatmaps, size


def test_a_width_per_axis_of_a_volume_is_measured_per_axis():
    codec, maps, size = volume_of([[17.3, 15.8, 9.6], [18.0, 14.5, 10.0]])
    spread = codec.decode(maps, size, spread=True).spread[0]
    torch.testing.assert_close(
        spread, torch.diag(torch.tensor(WIDTHS) ** 2).expand(2, 3, 3), rtol=0.03, atol=0.03
    )


def test_next_to_the_border_of_a_volume_only_that_axis_is_cut():
    codec, maps, size = volume_of([[2.4, 15.8, 9.6], [33.7, 15.8, 9.6]])
    spread = codec.decode(maps, size, spread=True).spread[0]
    torch.testing.assert_close(
        spread[:, 1:, 1:], torch.diag(torch.tensor(WIDTHS[1:]) ** 2).expand(2, 2, 2), rtol=0.03, atol=0.03
    )
    assert (spread[:, 0, 0] > 4).all()
    assert (spread[:, 0, 0] < 9).all()
    assert (torch.linalg.eigvalsh(spread) > 0).all()


def test_the_frame_of_a_volume_turns_the_spread():
    # Map -> input (twice as large) -> original (axes exchanged, other spacing): covariances follow.
    codec, maps, size = volume_of([[17.3, 15.8, 9.6]])
    found = codec.decode(maps, tuple(2 * side for side in size), spread=True)
    turn = torch.tensor([[0.0, 0.0, 1.5], [-0.5, 0.0, 0.0], [0.0, 2.0, 0.0]])
    matrix = torch.eye(4)
    matrix[:3, :3] = turn
    moved = found.mapped(matrix.numpy()).spread[0, 0]
    wanted = turn @ torch.diag(4 * torch.tensor(WIDTHS) ** 2) @ turn.T
    torch.testing.assert_close(moved, wanted, rtol=0.03, atol=0.1)
