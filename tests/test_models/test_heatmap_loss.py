"""Pixel-wise losses against slow references; of all losses: gradients, masks and reductions."""

import dataclasses
import math
from contextlib import nullcontext

import pytest
import torch

from mmlandmark.codecs import GivenTarget, VotingCodec
from mmlandmark.ops.backend import using_reference
from mmlandmark.registry import MODELS
from test_models.loss_cases import ALL, target_of


def slow_pixel(kind, p, y, cfg):
    """One pixel of one loss, from its definition."""
    if kind == "HeatmapMSELoss":
        return (p - y) ** 2
    if kind == "HeatmapL1Loss":
        return abs(p - y)
    if kind == "EWCLoss":
        return (p - y) ** 2 * 40**y
    if kind == "AdaptiveWingLoss":
        alpha, omega, epsilon, theta = 2.1, 14, 1, 0.5
        a = (
            omega
            / (1 + (theta / epsilon) ** (alpha - y))
            * (alpha - y)
            * (theta / epsilon) ** (alpha - y - 1)
            / epsilon
        )
        c = theta * a - omega * math.log(1 + (theta / epsilon) ** (alpha - y))
        d = abs(p - y)
        return omega * math.log(1 + (d / epsilon) ** (alpha - y)) if d < theta else a * d - c
    s = 1 / (1 + math.exp(-p))
    return (-y * math.log(s) - (1 - y) * math.log(1 - s)) * abs(y - s) ** cfg.get("gamma", 0.0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("top", [1.0, 0.2])
@pytest.mark.parametrize("size", [(6, 7), (5, 6, 4)], ids=["image", "volume"])
@pytest.mark.parametrize("cfg", ALL[:6], ids=lambda c: "-".join(str(v) for v in c.values()))
def test_pixelwise_losses_equal_their_definition(cfg, size, top, reduction):
    weights = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]], dtype=torch.float64)
    target = target_of(weights=weights, size=size)
    pred = torch.randn(2, 3, *size, dtype=torch.float64)
    total, count = 0.0, round(top * math.prod(size))
    for b in range(2):
        for k in range(3):
            pairs = zip(pred[b, k].flatten().tolist(), target.heatmaps[b, k].flatten().tolist(), strict=True)
            errors = sorted((slow_pixel(cfg["type"], p, y, cfg) for p, y in pairs), reverse=True)
            total += float(weights[b, k]) * sum(errors[:count])
    expected = total / (count * float(weights.sum())) if reduction == "mean" else total / 2
    loss = MODELS.build(dict(cfg, reduction=reduction, top=top))(pred, target)
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_only_the_largest_errors_are_learned_from():
    target = target_of(size=(4, 5, 6))
    pred = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64).requires_grad_()
    MODELS.build(dict(type="HeatmapBCELoss", top=0.05))(pred, target).backward()
    assert ((pred.grad != 0).flatten(2).sum(-1) == 6).all()  # of 120 pixels of every map
    for wrong in (0, 1.5):
        with pytest.raises(
            ValueError, match=f"top is a part of the pixels, above 0 and at most 1, got {wrong}"
        ):
            MODELS.build(dict(type="EWCLoss", top=wrong))


@pytest.mark.parametrize("cfg", ALL, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_autocast_does_not_reach_into_a_loss(cfg):
    target = target_of(dtype=torch.float32)
    pred = torch.randn(2, 3, 6, 7, dtype=torch.bfloat16)
    loss = MODELS.build(cfg)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(pred, target)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss(pred, target))


@pytest.mark.parametrize("cfg", ALL, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_gradients(cfg):
    target = target_of(1, 2, (4, 5))
    pred = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: MODELS.build(cfg)(p, target), (pred,))


@pytest.mark.parametrize("cfg", ALL, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_a_masked_landmark_changes_nothing(cfg):
    weights = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    loss, target = MODELS.build(cfg), target_of(1, 2, weights=weights)
    pred = torch.randn(1, 2, 6, 7, dtype=torch.float64)
    other = pred.clone()
    other[0, 1] = torch.randn(6, 7, dtype=torch.float64) * 9
    assert float(loss(pred, target)) == float(loss(other, target))
    empty = target_of(1, 2, weights=torch.zeros(1, 2, dtype=torch.float64))
    pred.requires_grad_()
    value = loss(pred, empty)
    value.backward()
    assert float(value.detach()) == 0
    assert float(pred.grad.abs().sum()) == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("cfg", [*ALL, dict(type="OffsetL1Loss")], ids=str)
@pytest.mark.parametrize("reference", [False, True])
def test_what_a_masked_map_holds_reaches_nothing(cfg, bad, reference):
    """Neither the value nor a gradient, also not as 0 times NaN."""
    weights = torch.tensor([[1.0, 0.0, 2.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    of_landmark = 3 if cfg["type"] == "OffsetL1Loss" else 1
    target = target_of(weights=weights)
    if of_landmark > 1:  # which also has offsets
        where = target.landmarks, target.mask, target.weights
        target = VotingCodec(radius=2.0).encode(*where, target.size, target.size)
    good = torch.randn(2, 3, of_landmark, 6, 7, dtype=torch.float64)
    wrong = good.clone()
    wrong[0, 1], wrong[1, 2, :, 3] = bad, bad
    found = []
    with using_reference() if reference else nullcontext():
        for maps in (good, wrong):
            pred = maps.flatten(1, 2).requires_grad_()
            value = MODELS.build(cfg)(pred, target)
            value.backward()
            found.append((value.detach(), pred.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=0)
    assert torch.isfinite(found[1][1]).all()


@pytest.mark.parametrize("cfg", ALL, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_nan_in_a_prediction_is_seen(cfg):
    pred = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    pred[0, 0, 0, 0] = float("nan")
    assert torch.isnan(MODELS.build(cfg)(pred, target_of()))


def test_low_precision_predictions_are_summed_in_float32():
    pred = torch.randn(2, 3, 6, 7)
    exact = MODELS.build(dict(type="EWCLoss"))(pred.bfloat16().float(), target_of(dtype=torch.float32))
    loss = MODELS.build(dict(type="EWCLoss"))(pred.bfloat16(), target_of(dtype=torch.float32))
    assert loss.dtype == torch.float32
    assert float(loss) == float(exact)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        MODELS.build(dict(type="EWCLoss"))(torch.zeros(2, 3, 6, 8), target_of())


@pytest.mark.parametrize("kind", ["HeatmapBCELoss", "AdaptiveWingLoss", "DiceLoss"])
def test_maps_above_1_are_refused_by_losses_of_probabilities(kind):
    """Against a height of 10 a cross-entropy falls without end, and the exponent of a wing is negative."""
    pred, loss = torch.randn(2, 3, 6, 7, dtype=torch.float64), MODELS.build(dict(type=kind))
    for known in (dict(scale=10.0), dict(normalize="sum", scale=100.0)):  # a sum of 100 is 7 high
        with pytest.raises(
            ValueError, match=rf"{kind} compares with maps of at most 1.* set head\.codec\.scale=1"
        ):
            loss(pred, target_of(**known))
    for known in (dict(scale=1.0), dict(scale=0.5), dict(normalize="sum", scale=10.0)):
        assert torch.isfinite(loss(pred, target_of(**known)))
    assert torch.isfinite(MODELS.build(dict(type="HeatmapMSELoss", top=0.5))(pred, target_of(scale=10.0)))


def test_wrong_numbers_of_a_cross_entropy_are_refused():
    for wrong in (dict(gamma=-1), dict(pos_weight=0), dict(gamma=float("nan"))):
        with pytest.raises(
            ValueError, match="HeatmapBCELoss needs gamma of at least 0 and a positive pos_weight"
        ):
            MODELS.build(dict(type="HeatmapBCELoss", **wrong))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("cfg", ALL, ids=str)
def test_what_a_teacher_shows_of_a_masked_landmark_reaches_nothing(cfg, bad):
    weights = torch.tensor([[1.0, 0.0, 2.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    known, maps = target_of(weights=weights), torch.rand(2, 3, 6, 7, dtype=torch.float64)
    found = []
    for value in (0.5, bad):
        shown = maps.clone()
        shown[0, 1], shown[1, 2, 3] = value, value
        given = GivenTarget(known.landmarks, known.mask, weights, known.size, known.sigma, given=shown)
        pred = maps.flip(-1).clone().requires_grad_()
        loss = MODELS.build(cfg)(pred, given)
        loss.backward()
        found.append((loss.detach(), pred.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["EWCLoss", "HeatmapMSELoss"])
def test_squared_losses_draw_no_map_of_a_gaussian(kind):
    pred, target = torch.randn(2, 3, 6, 7, dtype=torch.float64, requires_grad=True), target_of()
    loss = MODELS.build(dict(type=kind))
    value = loss(pred, target)
    assert "heatmaps" not in vars(target)
    errors = (pred - target.heatmaps).square()
    errors = errors * 40.0**target.heatmaps if kind == "EWCLoss" else errors
    weighted = (errors.flatten(2).mean(-1) * target.weights).sum() / target.weights.sum()
    torch.testing.assert_close(value, weighted)
    torch.testing.assert_close(
        torch.autograd.grad(value, pred)[0], torch.autograd.grad(weighted, pred)[0], rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("change", [dict(shape="laplace"), dict(scale=2.0), dict(normalize="sum")])
def test_squared_losses_of_other_targets_use_their_map(change):
    pred, target = torch.randn(2, 3, 6, 7, dtype=torch.float64), dataclasses.replace(target_of(), **change)
    value = MODELS.build(dict(type="EWCLoss", alpha=3.0))(pred, target)
    errors = ((pred - target.heatmaps).square() * 3.0**target.heatmaps).flatten(2).mean(-1)
    torch.testing.assert_close(value, (errors * target.weights).sum() / target.weights.sum())
