"""Peaks whose width is learned."""

import math

import pytest
import torch

from mmlandmark.codecs import LearnedSigmaCodec
from mmlandmark.models.losses import HeatmapMSELoss

SIZE = {2: (24, 28), 3: (14, 16, 18)}


def encoded(codec, dims, batch=2, missing=True):
    torch.manual_seed(0)
    points = 5 + torch.rand(batch, 3, dims) * (torch.tensor(SIZE[dims][::-1]) - 10)
    mask = torch.ones(batch, 3, dtype=torch.bool)
    mask[0, 1] = not missing
    return points, codec.encode(points, mask, mask.float(), SIZE[dims], SIZE[dims])


@pytest.mark.parametrize(("dims", "scale", "sigma"), [(2, 100.0, 2.5), (3, 1000.0, 4.0)])
def test_the_target_is_that_of_the_publication(dims, scale, sigma):
    codec = LearnedSigmaCodec(1, sigma, scale, dims=dims)
    centre = torch.tensor([[[8.0] * dims]])
    ones = torch.ones(1, 1)
    heatmap = codec.encode(centre, ones > 0, ones, (17,) * dims, (17,) * dims).heatmaps[0, 0].detach()
    peak = scale / (math.sqrt(2 * math.pi) * sigma) ** dims
    assert float(heatmap.max()) == pytest.approx(peak)
    assert float(heatmap[(8,) * (dims - 1) + (11,)]) == pytest.approx(peak * math.exp(-4.5 / sigma**2))


@pytest.mark.parametrize("dims", [2, 3])
def test_it_decodes_what_it_draws(dims):
    codec = LearnedSigmaCodec(3, 1.5, dims=dims)
    with torch.no_grad():
        codec.sigma.copy_(torch.tensor([1.2, 1.5, 2.0]))
    points, target = encoded(codec, dims, missing=False)
    found = codec.decode(target.heatmaps.detach(), SIZE[dims], spread=True)
    torch.testing.assert_close(found.points, points, atol=0.1, rtol=0)
    assert (found.scores > 0.8).all()  # a peak between pixels is lower than the target
    assert (found.scores < 1.001).all()
    widths = found.spread.diagonal(dim1=-2, dim2=-1).mean((0, 2)).sqrt()
    assert widths.tolist() == sorted(widths.tolist())
    assert codec.peak_width == 2.0


def test_every_landmark_learns_a_width_of_its_own():
    codec = LearnedSigmaCodec(3, 1.5, scale=20.0, regularizer=1.0)
    _, target = encoded(codec, 2)
    loss = HeatmapMSELoss(reduction="sum", loss_weight=0.5)
    total = loss(torch.zeros(2, 3, *SIZE[2]), target) + codec.losses(target)["sigma"]
    (slope,) = torch.autograd.grad(total, codec.sigma)
    with torch.no_grad():
        for k in range(3):  # against a finite difference
            values = []
            for step in (-1e-2, 1e-2):
                codec.sigma[k] += step
                _, moved = encoded(codec, 2)
                values.append(float(loss(torch.zeros(2, 3, *SIZE[2]), moved) + codec.losses(moved)["sigma"]))
                codec.sigma[k] -= step
            assert float(slope[k]) == pytest.approx((values[1] - values[0]) / 2e-2, rel=1e-2)


def test_the_regularizer_counts_annotated_landmarks():
    codec = LearnedSigmaCodec(3, 2.0, regularizer=20.0)
    _, target = encoded(codec, 2)  # two images, five of six landmarks
    assert float(codec.losses(target)["sigma"].detach()) == pytest.approx(20 / 2 * 5 * 2.0**2 / 2)
    (slope,) = torch.autograd.grad(codec.losses(target)["sigma"], codec.sigma)
    torch.testing.assert_close(slope, torch.tensor([40.0, 20.0, 40.0]))


def test_annotators_share_the_width():
    codec = LearnedSigmaCodec(2, 2.0)
    with torch.no_grad():
        codec.sigma[1] = 3.0
    assert codec.target_sigma(torch.zeros(1, 6, 2)).tolist() == [2.0, 3.0] * 3
    heights = codec.relative(torch.ones(1, 6, 4))
    assert heights.shape == (1, 6, 4)
    assert float(heights[0, 1, 0] / heights[0, 0, 0]) == pytest.approx(9 / 4)


def test_a_step_too_far_is_taken_back():
    codec = LearnedSigmaCodec(3, 1.0, smallest=0.5)
    with torch.no_grad():
        codec.sigma[0] = -2.0
    _, target = encoded(codec, 2)
    assert codec.sigma.tolist() == [0.5, 1.0, 1.0]
    assert torch.isfinite(target.heatmaps).all()
    (slope,) = torch.autograd.grad(codec.losses(target)["sigma"], codec.sigma)
    assert slope[0] > 0  # it is held, not frozen


def test_bad_arguments():
    with pytest.raises(ValueError, match="one number to start from"):
        LearnedSigmaCodec(2, (1.0, 2.0))
    with pytest.raises(ValueError, match="0 < smallest <= sigma"):
        LearnedSigmaCodec(2, 0.3)
    for wrong in (-1.0, float("inf")):
        with pytest.raises(ValueError, match="not negative"):
            LearnedSigmaCodec(2, regularizer=wrong)
    with pytest.raises(
        TypeError, match="unexpected keyword argument 'shape'"
    ):  # scores are those of Gaussians
        LearnedSigmaCodec(2, shape="cone")
