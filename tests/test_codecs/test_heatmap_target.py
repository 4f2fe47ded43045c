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


@pytest.mark.parametrize(
    "sigma",
    [2.0, torch.tensor([2.0, 2.0, 2.0]), torch.full((2, 3), 2.0), torch.tensor([2.0, 2.0]).expand(2, 3, 2)],
)
def test_a_landmark_up_to_a_sigma_outside_is_inside(sigma):
    """A map of 8 x 10 pixels covers -0.5 to 9.5 along x and -0.5 to 7.5 along y."""
    points = torch.tensor([[[0.0, 0], [11.4, 7], [11.6, 7]], [[4, -2.4], [4, -2.6], [11, 9]]])
    mask = torch.ones(2, 3, dtype=torch.bool)
    one = HeatmapTarget(points, mask, mask.float() / 2, (8, 10), sigma)
    # Along a diagonal, 1.5 pixels beyond each border are more than a sigma of 2.
    expected = torch.tensor([[True, True, False], [True, False, False]])
    assert torch.equal(one.inside, expected)
    assert torch.equal(one.of_inside().weights, expected / 2)
    assert torch.equal(one.of_inside().landmarks, points)


def test_maps_that_are_drawn_stay_drawn():
    one = target()
    drawn = one.heatmaps
    assert one.of_inside().heatmaps is drawn
    given = GivenTarget(one.landmarks - 99, one.mask, one.weights, one.size, 1.0, given=drawn)
    assert given.inside.all(), "a given map shows something, wherever the landmark is"
    assert given.of_inside().heatmaps is drawn


def test_widths_along_each_axis_decide_how_far_is_outside():
    points = torch.tensor([[[-3.0, 4, 4], [4, 4, -3]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    sigma = torch.tensor([[[1.0, 1, 3]] * 2])
    one = HeatmapTarget(points, mask, mask.float(), (9, 9, 9), sigma)
    assert one.inside.tolist() == [[False, True]]
