"""Decoders: by name or by config, every one on a drawn peak."""

import pytest
import torch

from mmlandmark.codecs import BaseDecoder, HeatmapCodec, Peaks
from mmlandmark.ops import gaussian_heatmap, soft_argmax
from mmlandmark.registry import DECODERS, NotRegisteredError


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", sorted(DECODERS.module_dict))
def test_a_peak_is_decoded(name, dims):
    points = torch.tensor([[[14.3, 11.6, 12.2][:dims], [9.0, 15.5, 13.0][:dims]]])
    maps = gaussian_heatmap(points, (24, 25, 26)[-dims:], 2.0)
    peaks = DECODERS.build(dict(type=name))(maps, width=2.0, window=6)
    tolerance = {"argmax": 0.51, "soft_argmax": 0.2, "blob_centroid": 0.51}.get(name, 0.1)
    assert (peaks.points - points).abs().max() < tolerance
    assert (peaks.pixels - points).abs().max() <= 0.5
    assert peaks.pixels.dtype == torch.int64
    torch.testing.assert_close(peaks.heights, maps.flatten(2).amax(-1))


def test_arguments_of_a_decoder_are_given_in_its_config():
    maps = torch.rand(1, 2, 9, 8)
    codec = HeatmapCodec(sigma=1, decoder=dict(type="soft_argmax", beta=3.0))
    torch.testing.assert_close(codec.decode(maps, (9, 8)).points, soft_argmax(maps, 3.0))
    with pytest.raises(ValueError, match="threshold of blob_centroid must be at least 0 and below 1, got 1"):
        HeatmapCodec(sigma=1, decoder=dict(type="blob_centroid", threshold=1.0))


def test_an_unknown_decoder_lists_those_that_are_near():
    with pytest.raises(NotRegisteredError, match=r"'quadratik' is not in .*Did you mean quadratic"):
        HeatmapCodec(sigma=1, decoder="quadratik")


class FirstPixel(BaseDecoder):
    """Whatever is shown, the first pixel."""

    def forward(self, maps, width, window):
        corner = torch.zeros(*maps.shape[:2], maps.ndim - 2)
        return Peaks(corner, corner.long(), maps.flatten(2)[..., 0])


def test_a_decoder_of_another_package():
    codec = HeatmapCodec(sigma=1, decoder=dict(type=FirstPixel))
    assert codec.decode(torch.rand(1, 2, 4, 4), (8, 8)).points.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
