"""Losses that look at a map as a whole, against their definitions."""

import pytest
import torch

from mmlandmark.codecs import GivenTarget
from mmlandmark.registry import CODECS, MODELS
from test_models.loss_cases import target_of


@pytest.mark.parametrize("shape", ["gaussian", "laplace", "disc"])
@pytest.mark.parametrize("size", [(6, 7), (6, 5, 7)])
def test_spatial_cross_entropy_equals_its_definition(shape, size):
    weights = torch.tensor([[1.0, 0.5, 2.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
    target = target_of(size=size, weights=weights, shape=shape, scale=3.0)
    pred = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    axes = tuple(range(2, pred.ndim))
    q = target.heatmaps / target.heatmaps.sum(axes, keepdim=True).clamp(min=1e-300)
    p = (2.0 * pred).exp() / (2.0 * pred).exp().sum(axes, keepdim=True)
    expected = (weights * -(q * p.log()).sum(axes)).sum() / weights.sum()
    loss = MODELS.build(dict(type="SpatialCrossEntropyLoss", beta=2.0))(pred, target)
    torch.testing.assert_close(loss, expected)
    (grad,) = torch.autograd.grad(loss, pred)
    pull = weights[(...,) + (None,) * len(size)] / weights.sum()
    torch.testing.assert_close(grad, 2.0 * pull * (p - q))


@pytest.mark.parametrize(
    "config",
    [dict(type="SpatialCrossEntropyLoss"), dict(type="IntegralL1Loss", activation="softmax")],
)
def test_a_landmark_outside_pulls_no_map_to_the_border(config):
    """A shift of the augmentation has moved the second landmark 3 sigma out, the third half a sigma."""
    points = torch.tensor([[[4.0, 3], [-5, 3], [4, -1.25]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    codec = CODECS.build(dict(type="GaussianHeatmapCodec", sigma=1.5))
    pred = torch.randn(1, 3, 8, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = MODELS.build(config)
    value = loss(pred, codec.encode(points, mask, mask.float(), (8, 9), (8, 9)))
    (pull,) = torch.autograd.grad(value, pred)
    assert [bool(pull[0, k].any()) for k in range(3)] == [True, False, True]
    seen = torch.tensor([[True, False, True]])
    masked = codec.encode(points, seen, seen.float(), (8, 9), (8, 9))
    assert torch.equal(value, loss(pred, masked)), "like a landmark that is not annotated"
    inside = codec.encode(points.clamp(min=0), mask, mask.float(), (8, 9), (8, 9))
    (pull,) = torch.autograd.grad(loss(pred, inside), pred)
    assert pull[0, 1].any(), "on the border it is a target like any other"


def test_a_given_map_below_zero_is_no_part_of_a_distribution():
    torch.manual_seed(0)
    maps = torch.rand(1, 2, 4, 5) - 0.5
    known = dict(
        landmarks=torch.zeros(1, 2, 2), mask=torch.ones(1, 2, dtype=torch.bool), weights=torch.ones(1, 2)
    )
    target = GivenTarget(**known, size=(4, 5), sigma=1.0, given=maps)
    pred = torch.randn(1, 2, 4, 5)
    q = maps.clamp(min=0).flatten(2)
    expected = -(q / q.sum(-1, keepdim=True) * pred.flatten(2).log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(MODELS.build(dict(type="SpatialCrossEntropyLoss"))(pred, target), expected)


@pytest.mark.parametrize("per_map", [True, False])
def test_dice_equals_its_definition(per_map):
    target, pred = target_of(), torch.randn(2, 3, 6, 7, dtype=torch.float64)
    axes = (2, 3) if per_map else (1, 2, 3)
    s, t = pred.sigmoid(), target.heatmaps
    expected = (1 - 2 * (s * t).sum(axes) / ((s * s).sum(axes) + (t * t).sum(axes))).mean()
    assert float(MODELS.build(dict(type="DiceLoss", per_map=per_map))(pred, target)) == pytest.approx(
        float(expected)
    )
