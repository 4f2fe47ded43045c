"""Maps at another size."""

import pytest
import torch

from mmlandmark.codecs import HeatmapCodec, resized


@pytest.mark.parametrize("dims", [2, 3])
def test_smaller_maps_are_means_over_areas(dims):
    maps = torch.rand(2, 3, *(8, 12, 4)[:dims])
    small = resized(maps, [side // 2 for side in maps.shape[2:]])
    torch.testing.assert_close(small[0, 0].flatten()[0], maps[0, 0][(slice(2),) * dims].mean())
    torch.testing.assert_close(small.mean(), maps.mean())


@pytest.mark.parametrize("dims", [2, 3])
def test_larger_maps_are_interpolated(dims):
    ramp = torch.arange(6.0).expand(1, 1, *[6] * dims)
    large = resized(ramp, [12] * dims)
    torch.testing.assert_close(large[(0, 0) + (4,) * (dims - 1)][1:-1], torch.arange(0.25, 5, 0.5))
    assert resized(ramp, [6] * dims) is ramp


@pytest.mark.parametrize(
    ("config", "kept"),
    [(dict(), "height"), (dict(activation="sigmoid"), "height"), (dict(activation="softmax"), "sum"),
     (dict(normalize="sum"), "sum")],
)  # fmt: skip
def test_a_codec_keeps_what_its_maps_mean(config, kept):
    maps = torch.rand(1, 2, 16, 12)
    small = HeatmapCodec(sigma=1, **config).resized(maps, (8, 6))
    measure = torch.mean if kept == "height" else torch.sum
    torch.testing.assert_close(measure(small), measure(maps))
