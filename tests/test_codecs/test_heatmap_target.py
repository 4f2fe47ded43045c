"""Targets: drawn when asked for, with widths that may be learned."""

from dataclasses import replace

import pytest
import torch

from mmlandmark.codecs import GivenTarget, HeatmapTarget
from mmlandmark.models.losses import EWCLoss, HeatmapMSELoss, SpatialCrossEntropyLoss
from mmlandmark.ops import gaussian_heatmap


def target(sigma=1.5, dims=2, **kwargs):
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    points = 3 + 6 * torch.rand(2, 3, dims)
    return HeatmapTarget(points, mask, mask.float(), (12, 13, 14)[:dims], sigma, **kwargs)


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_are_drawn_once_and_masked(dims):
    one = target(dims=dims)
    drawn = gaussian_heatmap(one.landmarks, one.size, 1.5, mask=one.mask)
    assert torch.equal(one.heatmaps, drawn)
    assert one.heatmaps is one.heatmaps
    assert not one.heatmaps[0, 2].any()


@pytest.mark.parametrize("dims", [2, 3])
def test_the_product_of_the_profiles_is_the_map(dims):
    one = target(dims=dims)
    letters = "xyz"[:dims]
    product = torch.einsum(",".join(f"bk{a}" for a in letters) + f"->bk{letters}", *one.profiles)
    torch.testing.assert_close(product[one.mask], one.heatmaps[one.mask])
    assert target(shape="disc").profiles is None


def test_only_a_gaussian_of_height_one_is_one():
    assert target().is_unit_gaussian
    for other in (dict(shape="laplace"), dict(normalize="sum"), dict(scale=2.0)):
        assert not target(**other).is_unit_gaussian


@pytest.mark.parametrize(
    ("loss", "kwargs"),
    [
        (EWCLoss(), dict()),
        (HeatmapMSELoss(), dict(normalize="sum", scale=20.0)),
        (SpatialCrossEntropyLoss(), dict()),
        (SpatialCrossEntropyLoss(), dict(normalize="sum")),
    ],
)
def test_a_loss_is_differentiable_in_the_width(loss, kwargs):
    pred = torch.rand(2, 3, 12, 13)
    sigma = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (slope,) = torch.autograd.grad(loss(pred, target(sigma, **kwargs)), sigma)
    for k in range(3):  # against a difference
        step = torch.zeros(3)
        step[k] = 1e-2
        ends = [float(loss(pred, target(sigma.detach() + s * step, **kwargs))) for s in (-1, 1)]
        assert float(slope[k]) == pytest.approx((ends[1] - ends[0]) / 2e-2, rel=0.05, abs=2e-4)


def test_given_maps_are_returned_as_they_are():
    one, maps = target(), torch.rand(2, 3, 12, 13)
    given = GivenTarget(one.landmarks, one.mask, one.weights, one.size, one.sigma, given=maps)
    assert given.heatmaps is maps
    assert given.profiles is None
    assert not given.is_unit_gaussian
    assert replace(given, sigma=2.0).heatmaps is maps
