"""Coordinates by the centre of mass, and the trap of a sigmoid's background."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.losses import IntegralL1Loss
from mmlandmark.models.losses.integral_loss import normalized_steps
from mmlandmark.ops import centroid, gaussian_heatmap
from mmlandmark.registry import MODELS
from test_codecs.downstream_codecs import images_and_samples
from test_models.loss_cases import target_of

ACTIVATED = {
    None: F.relu,
    "sigmoid": torch.sigmoid,
    "softmax": lambda m: m.flatten(2).softmax(-1).view(m.shape),
}


def test_the_centres_of_all_pixels_fill_0_to_1():
    assert normalized_steps((3, 5)) == [0.25, 0.5]
    assert normalized_steps((1, 3, 11)) == [0.1, 0.5, 1.0]  # a single slice has no length


@pytest.mark.parametrize("activation", ACTIVATED)
@pytest.mark.parametrize("size", [(6, 7), (6, 5, 7)])
def test_it_equals_its_definition(size, activation):
    weights = torch.tensor([[1.0, 0.5, 2.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
    target = target_of(size=size, weights=weights)
    pred = torch.randn(2, 3, *size, dtype=torch.float64)
    places = centroid(ACTIVATED[activation](pred))
    sides = torch.tensor(size[::-1]) - 1.0
    errors = (places / sides - target.landmarks / sides).abs().sum(-1)
    for reduction, divisor in (("mean", 5.5), ("sum", 2)):
        loss = IntegralL1Loss(activation, reduction=reduction, loss_weight=3.0)(pred, target)
        torch.testing.assert_close(loss, 3 * (weights * errors).sum() / divisor)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("kind", ["IntegralL1Loss", "RegionAttentionLoss"])
def test_beta_sharpens_the_map_before_its_activation(kind, activation):
    options = dict(type=kind, activation=activation, **({} if kind[0] == "I" else dict(std=0.0)))
    target, pred = target_of(dtype=torch.float64), torch.randn(2, 3, 6, 7, dtype=torch.float64) - 1
    sharp, plain = (MODELS.build(dict(options, beta=beta)) for beta in (3.0, 1.0))
    torch.testing.assert_close(sharp(pred, target), plain(3 * pred, target))
    assert sharp(pred, target) != plain(pred, target)
    low = sharp(pred - 200, target)  # where sigmoids are zero
    torch.testing.assert_close(low, plain(3 * pred - 600, target))
    with pytest.raises(ValueError, match="beta must be positive, got 0"):
        MODELS.build(dict(type=kind, beta=0))


def test_beta_is_a_power_of_maps_without_activation():
    maps = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    sharp = IntegralL1Loss(beta=2.0).coordinates(maps)
    torch.testing.assert_close(sharp, IntegralL1Loss().coordinates(maps**2))
    assert not torch.allclose(sharp, IntegralL1Loss().coordinates(maps))


def test_beta_looks_at_the_peak_and_not_at_the_background():
    """A softmax map with a peak of 2 pixels that holds 4/5 of the mass, as cross-entropy may leave it."""
    point = torch.tensor([[[30.0, 40.0]]], dtype=torch.float64)
    peak = gaussian_heatmap(point, (160, 128), 2.0)
    logits = (0.8 * peak / peak.sum() + 0.2 / peak.numel()).log()
    found = [IntegralL1Loss("softmax", beta).coordinates(logits) for beta in (1.0, 2.0)]
    away = [float((f - point).norm()) for f in found]
    assert away[0] > 10
    assert away[1] < 0.1


@pytest.mark.parametrize("kind", ["IntegralL1Loss", "RegionAttentionLoss"])
def test_maps_that_are_dim_everywhere_keep_their_shape(kind):
    loss = MODELS.build(dict(type=kind, activation="sigmoid", **({} if kind[0] == "I" else dict(std=0.0))))
    target, pred = target_of(dtype=torch.float32), torch.randn(2, 3, 6, 7) * 3
    values, slopes = [], []
    for shift in (-60.0, -1000.0):  # a sigmoid of -1000 is zero in 32 bits
        maps = (pred + shift).requires_grad_()
        values.append(loss(maps, target))
        values[-1].backward()
        slopes.append(maps.grad)
    torch.testing.assert_close(*values, rtol=1e-4, atol=0)
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-7)
    assert slopes[1].any()


def test_a_map_without_positive_values_lies_everywhere():
    target = target_of(dtype=torch.float32)
    centre = torch.tensor([3.0, 2.5])
    expected = ((target.landmarks - centre).abs() / torch.tensor([6.0, 5.0])).sum(-1).mean()
    torch.testing.assert_close(IntegralL1Loss()(torch.full((2, 3, 6, 7), -1.0), target), expected)


def test_a_head_hands_on_the_activation_of_its_codec():
    def activation(**codec):
        codec = dict(type="HeatmapCodec", sigma=2, **codec)
        head = dict(type="HeatmapHead", in_channels=4, num_landmarks=2, codec=codec)
        return MODELS.build(dict(head, loss=dict(type="IntegralL1Loss"))).losses["integrall1"].activation

    given = [activation(), activation(activation="sigmoid"), activation(activation="softmax")]
    assert given == list(ACTIVATED)
    with pytest.raises(ValueError, match="activation must be one of"):
        IntegralL1Loss("relu")


# ---- the trap ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("logit", "away"), [(0.0, 0.98), (-4.6, 0.5), (-8.0, 0.033)])
def test_a_faint_background_pulls_the_coordinate_to_the_centre(logit, away):
    """A saturated disc of 40 pixels in 800 x 640; ``away`` is how much of the way to the centre it is off."""
    point, centre = torch.tensor([[[200.0, 300.0]]]), torch.tensor([[[319.5, 399.5]]])
    disc = gaussian_heatmap(point, (800, 640), 40.0, shape="disc")
    logits = torch.where(disc > 0, 20.0, logit)
    mass, ground = float(disc.sum()), (800 * 640 - float(disc.sum())) / (1 + math.exp(-logit))
    assert ground / (ground + mass) == pytest.approx(away, abs=0.01)
    found = IntegralL1Loss("sigmoid").coordinates(logits)
    torch.testing.assert_close(found, point + away * (centre - point), atol=1.5, rtol=0)


def trained(bias, loss, size, iterations):
    """Return the mean error of a small detector in pixels, and of the centre in place of its points."""
    torch.manual_seed(0)
    images, samples = images_and_samples(size, batch=4 if len(size) == 2 else 2)
    codec = dict(type="GaussianHeatmapCodec", sigma=2, activation="sigmoid", decoder="integral")
    head = dict(type="HeatmapHead", num_landmarks=2, bias_init=bias, codec=codec, loss=dict(type=loss))
    backbone = dict(type="UNet", widths=(8, 12))
    model = MODELS.build(dict(type="LandmarkDetector", dims=len(size), backbone=backbone, head=head))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(iterations):
        optimizer.zero_grad()
        sum(model(images, samples, "loss").values()).backward()
        optimizer.step()
    with torch.no_grad():
        predicted = model.eval()(images, samples, "predict")
    centre = (torch.tensor(size[::-1]) - 1) / 2
    errors = [(s.pred_landmarks - s.gt_landmarks).norm(dim=-1) for s in predicted]
    return float(torch.stack(errors).mean()), float(
        torch.stack([(centre - s.gt_landmarks).norm(dim=-1) for s in predicted]).mean()
    )


@pytest.mark.parametrize(
    ("loss", "size"),
    [("IntegralL1Loss", (40, 48)), ("RegionAttentionLoss", (40, 48)), ("RegionAttentionLoss", (16, 24, 28))],
)
def test_the_bias_of_the_head_avoids_the_trap(loss, size):
    error, _ = trained(-8.0, loss, size, 20)
    trapped, of_centre = trained(0.0, loss, size, 20)
    assert error < 0.2 * of_centre
    assert trapped > 0.4 * of_centre


def test_a_target_of_other_maps():
    """A loss of where the mass lies needs no drawn target."""
    target = target_of(dtype=torch.float32, shape="laplace", scale=7.0)
    plain = HeatmapTarget(target.landmarks, target.mask, target.weights, target.size, 9.0)
    pred = torch.randn(2, 3, 6, 7)
    for kind in ("IntegralL1Loss", "RegionAttentionLoss"):
        loss = MODELS.build(dict(type=kind, activation="softmax"))
        torch.manual_seed(0)
        first = loss(pred, target)
        torch.manual_seed(0)
        assert torch.equal(first, loss(pred, plain))
    assert "heatmaps" not in vars(target)


def test_a_map_without_positive_values_lies_everywhere_whatever_the_power():
    target = target_of()
    nothing = torch.full((2, 3, 6, 7), -1.0)
    for kind in (dict(type="IntegralL1Loss"), dict(type="RegionAttentionLoss", std=0.0)):
        everywhere = MODELS.build(dict(kind, activation=None))(torch.ones_like(nothing), target)
        for beta in (2.0, 4.0, 8.0):
            loss = MODELS.build(dict(kind, activation=None, beta=beta))(nothing, target)
            torch.testing.assert_close(loss, everywhere)
