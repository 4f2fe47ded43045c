"""Detections from blocks of maps are those from the whole maps."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.codecs import GaussianHeatmapCodec
from mmlandmark.inference.running_peaks import RunningPeaks
from mmlandmark.inference.window_blocks import fused_blocks
from mmlandmark.ops import gaussian_heatmap
from mmlandmark.registry import CODECS

SIZE = {2: (50, 37), 3: (22, 30, 26)}
WINDOW = {2: (16, 12), 3: (8, 12, 10)}
DECODERS = ("argmax", "quadratic", "dark", "local_centroid")


def raw_maps(dims):
    """Return noisy peaks of 2 cases and 3 landmarks, some of them at the border, as raw output."""
    generator = torch.Generator().manual_seed(dims)
    points = torch.rand(2, 3, dims, generator=generator) * torch.tensor(SIZE[dims][::-1])
    points[0, 0], points[1, 2, 0] = 0.3, SIZE[dims][-1] - 1.2
    maps = 6 * gaussian_heatmap(points, SIZE[dims], 1.5)
    return maps + 0.2 * torch.randn(maps.shape, generator=generator)


def running(codec, maps, window, input_size, spread=True):
    """Return the detection from the blocks of a network that returns its input."""
    peaks = RunningPeaks(codec, maps.shape[2:], input_size)
    for block in fused_blocks(lambda x: x, maps, window, 0.5, codec.reach):
        values = block.values if codec.activation_scope == "map" else codec.activate(block.values)
        peaks.add(block._replace(values=values))
    return peaks.detection(spread)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("activation", [None, "sigmoid", "softmax"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_it_is_what_whole_maps_give(dims, activation, decoder):
    codec = GaussianHeatmapCodec(1.5, activation=activation, decoder=decoder)
    maps, size = raw_maps(dims), tuple(2 * side for side in SIZE[dims])
    whole = codec.decode(codec.activate(maps), size, spread=True)
    found = running(codec, maps, WINDOW[dims], size)
    torch.testing.assert_close(found.points, whole.points, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.scores, whole.scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.spread, whole.spread, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("activation", [None, "sigmoid", "softmax"])
def test_a_pixel_that_is_not_finite_anywhere_spoils_its_map_alone(activation):
    codec = GaussianHeatmapCodec(1.5, activation=activation)
    maps = raw_maps(2)
    maps[0, 1, 45, 3], maps[1, 0, 2, 30] = torch.nan, torch.inf
    whole = codec.decode(codec.activate(maps), SIZE[2], spread=True)
    found = running(codec, maps, WINDOW[2], SIZE[2])
    assert found.points.isnan().all(-1).nonzero().tolist() == [[0, 1], [1, 0]]
    for name in ("points", "scores", "spread"):
        expected, given = getattr(whole, name), getattr(found, name)
        torch.testing.assert_close(given, expected, atol=1e-3, rtol=1e-3, equal_nan=True)


def test_of_equal_maxima_the_first_counts():
    maps = torch.zeros(1, 3, 20, 20)
    maps[0, 0, 17, 2] = maps[0, 0, 3, 18] = maps[0, 1, 9, 9] = maps[0, 1, 9, 3] = 1.0
    codec = GaussianHeatmapCodec(1.0, decoder="argmax")
    found = running(codec, maps, (8, 8), (20, 20)).points[0]
    assert found.tolist() == [[18, 3], [3, 9], [0, 0]], "the first in reading order, as argmax says"
    assert torch.equal(found, codec.decode(maps, (20, 20)).points[0])


def test_every_landmark_keeps_its_own_part_of_the_codec():
    """A codec with something of its own per landmark sees as many maps as it has landmarks."""

    @CODECS.register_module(force=True)
    class OwnScales(GaussianHeatmapCodec):
        def decode(self, maps, input_size, spread=False):
            found = super().decode(maps, input_size, spread)
            return type(found)(found.points, found.scores / torch.tensor([1.0, 2.0, 4.0]), found.spread)

    codec, maps = OwnScales(1.5), raw_maps(2)
    torch.testing.assert_close(
        running(codec, maps, WINDOW[2], SIZE[2]).scores, codec.decode(maps, SIZE[2]).scores
    )
