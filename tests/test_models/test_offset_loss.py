"""Offsets inside of discs, against a loop over pixels."""

import itertools

import pytest
import torch

from mmlandmark.codecs import GaussianHeatmapCodec, VotingCodec
from mmlandmark.models.losses import OffsetL1Loss

SIZE = {2: (9, 14), 3: (6, 7, 9)}
RADIUS = 2.3


def encoded(codec, dims, points, weights):
    return codec.encode(points, weights > 0, weights, SIZE[dims], SIZE[dims])


def slow_error(offsets, point, radius):
    """Return the mean over the pixels of a disc of the absolute error of (D, *S) offsets, x first."""
    errors = []
    for place in itertools.product(*map(range, offsets.shape[1:])):
        way = (point - torch.tensor(place[::-1])) / radius
        if float(way.norm()) <= 1:
            errors.append(float((offsets[(slice(None), *place)] - way).abs().sum()))
    return sum(errors) / max(1, len(errors))


@pytest.mark.parametrize("dims", [2, 3])
def test_it_equals_a_loop_over_pixels(dims):
    torch.manual_seed(0)
    # In the middle, over the border, outside with a part of the disc, far outside, missing.
    points = torch.tensor(
        [[4.2, 3.1, 2.6], [0.2, 5.9, 4.7], [-1.4, 2.0, 3.3], [1e7, 3.0, -1e7], [1.0, 1.0, 1.0]]
    )
    points = points[None, :, :dims].double()
    weights = torch.tensor([[1.0, 0.5, 2.0, 1.0, 0.0]], dtype=torch.float64)
    pred = torch.randn(1, 5 * (1 + dims), *SIZE[dims], dtype=torch.float64)
    target = encoded(VotingCodec(RADIUS, dims=dims), dims, points, weights)
    offsets = pred.unflatten(1, (5, -1))[0, :, 1:]
    errors = [slow_error(offsets[k], points[0, k], RADIUS) for k in range(5)]
    assert errors[2] > 0
    assert errors[3] == 0
    expected = sum(float(w) * e for w, e in zip(weights[0], errors, strict=True))
    assert float(OffsetL1Loss("sum", 2.0)(pred, target)) == pytest.approx(2 * expected)
    assert float(OffsetL1Loss()(pred, target)) == pytest.approx(expected / 4.5)


def test_gradients_reach_the_offsets_inside_alone():
    points, weights = torch.tensor([[[5.0, 4.0]]], dtype=torch.float64), torch.ones(1, 1)
    pred = torch.randn(1, 3, *SIZE[2], dtype=torch.float64, requires_grad=True)
    target = encoded(VotingCodec(RADIUS), 2, points, weights)
    OffsetL1Loss()(pred, target).backward()
    assert not pred.grad[0, 0].any()
    for axis in (1, 2):
        assert torch.equal(pred.grad[0, axis] != 0, target.heatmaps[0, 0] > 0)


def test_a_codec_without_offsets_is_named():
    target = encoded(GaussianHeatmapCodec(2.0), 2, torch.ones(1, 1, 2), torch.ones(1, 1))
    with pytest.raises(ValueError, match=r"needs 3 maps per landmark, the codec has 1: .*VotingCodec"):
        OffsetL1Loss()(torch.zeros(1, 1, *SIZE[2]), target)
