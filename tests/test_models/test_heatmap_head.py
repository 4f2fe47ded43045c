"""A convolution per level."""

import pytest
import torch

from mmlandmark.registry import MODELS
from test_models.detector_cases import CODEC, detector

HEAD = dict(type="HeatmapHead", in_channels=4, num_landmarks=3, codec=CODEC, loss=dict(type="EWCLoss"))


def test_several_levels_are_supervised_on_request_only():
    with pytest.raises(ValueError, match=r"2 levels of \[4, 6\] channels: .* level_weights"):
        detector(backbone=dict(out_indices=(0, 1)))


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_of_the_first_level_or_of_all(dims):
    head = MODELS.build(dict(HEAD, in_channels=[4, 6], level_weights=(1.0, 0.5), dims=dims))
    features = [torch.rand(2, 4, *[8] * dims), torch.rand(2, 6, *[4] * dims)]
    assert [m.shape for m in head(features)] == [(2, 3, *[8] * dims), (2, 3, *[4] * dims)]
    assert [m.shape for m in head(features, all_levels=False)] == [(2, 3, *[8] * dims)]
    with pytest.raises(ValueError, match="the head has 2 levels, the backbone returns 1"):
        head(features[:1])


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_are_enlarged_as_features_would_be(dims):
    head = MODELS.build(dict(HEAD, dims=dims, upsample_to=2))
    features = torch.rand(2, 4, *(5, 4, 6)[:dims])
    (maps,) = head([features])
    assert maps.shape == (2, 3, *(10, 8, 12)[:dims])
    mode = "bilinear" if dims == 2 else "trilinear"
    first = torch.nn.functional.interpolate(features, scale_factor=2, mode=mode, align_corners=False)
    torch.testing.assert_close(maps, head.convs[0](first))


def test_a_hidden_convolution_and_a_bias_to_start_from():
    head = MODELS.build(dict(HEAD, hidden_channels=5, bias_init=-8.0))
    assert head.hidden[0].weight.shape == (5, 4, 3, 3)
    assert head.convs[0].weight.shape == (3, 5, 1, 1)
    assert (head.convs[0].bias == -8).all()
    assert head([torch.zeros(1, 4, 8, 8)])[0].shape == (1, 3, 8, 8)
