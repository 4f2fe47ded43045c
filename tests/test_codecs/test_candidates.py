"""Several peaks of a map."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.codecs import GaussianHeatmapCodec, HeatmapCodec
from mmlandmark.ops import gaussian_heatmap

SIZE = {2: (48, 64), 3: (24, 32, 40)}
PLACES = {2: ([10.3, 12.0], [50.0, 30.6]), 3: ([8.3, 7.0, 6.0], [30.0, 24.6, 15.0])}


def two_peaks(dims: int, sigma: float = 1.5) -> torch.Tensor:
    """Return a map (1, 1, *S) with a peak of height 1 and one of 0.6."""
    high, low = (gaussian_heatmap(torch.tensor([[p]]), SIZE[dims], sigma) for p in PLACES[dims])
    return torch.maximum(high, 0.6 * low)


@pytest.mark.parametrize("dims", [2, 3])
def test_peaks_come_in_order_with_their_heights(dims):
    maps = two_peaks(dims)
    codec = GaussianHeatmapCodec(sigma=1.5)
    found = codec.candidates(maps, SIZE[dims], 3)
    assert found.points.shape == (1, 1, 3, dims)
    torch.testing.assert_close(found.points[0, 0, :2], torch.tensor(PLACES[dims]), atol=0.06, rtol=0)
    torch.testing.assert_close(found.weights[0, 0, :2], torch.tensor([1.0, 0.6]), atol=0.06, rtol=0)
    assert found.weights[0, 0, 2] < 0.01
    detected = codec.decode(maps, SIZE[dims], spread=True)
    assert torch.equal(found.points[:, :, 0], detected.points)
    assert torch.equal(found.weights[:, :, 0], detected.scores)
    assert torch.equal(found.spread[:, :, 0], detected.spread)
    axes = found.spread[0, 0, 1].diagonal()
    torch.testing.assert_close(axes, torch.full((dims,), 2.25), atol=0.1, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_distribution_is_weighed_by_the_mass_of_its_peaks(dims):
    codec = HeatmapCodec(sigma=1.5, activation="softmax", window=5)
    maps = two_peaks(dims)
    maps = maps / maps.sum()
    found = codec.candidates(maps, SIZE[dims], 2)
    torch.testing.assert_close(found.weights[0, 0], torch.tensor([1, 0.6]) / 1.6, atol=0.01, rtol=0)
    torch.testing.assert_close(found.weights[:, :, 0], codec.decode(maps, SIZE[dims]).scores)


def test_points_are_those_of_the_input():
    found = GaussianHeatmapCodec(sigma=1.5).candidates(two_peaks(2), (96, 128), 2)
    expected = (torch.tensor(PLACES[2]) + 0.5) * 2 - 0.5
    torch.testing.assert_close(found.points[0, 0], expected, atol=0.1, rtol=0)
    torch.testing.assert_close(found.spread[0, 0, 1].diagonal(), torch.full((2,), 9.0), atol=0.4, rtol=0)


def test_a_map_with_fewer_peaks_says_so():
    maps = torch.zeros(1, 2, 32, 32)
    maps[0, 1, 4, 5] = 1.0
    found = GaussianHeatmapCodec(sigma=1.5).candidates(maps, (32, 32), 3)
    assert torch.isfinite(found.points).all(-1)[0].tolist() == [[True, False, False]] * 2
    assert (found.weights[0] > 0).tolist() == [[False, False, False], [True, False, False]]


def test_maps_stay_as_they_are():
    maps = two_peaks(2)
    before = maps.clone()
    GaussianHeatmapCodec(sigma=1.5).candidates(maps, SIZE[2], 3)
    assert torch.equal(maps, before)
