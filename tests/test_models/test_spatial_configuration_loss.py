"""The spatial configuration loss against its equations, one pixel and one pair at a time."""

import math

import pytest
import torch

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.losses import spatial_features
from mmlandmark.registry import MODELS, SPATIAL_FEATURES


def target_of(batch=2, count=4, size=(7, 9), weights=None, shape="laplace", dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(batch, count, len(size), dtype=dtype, generator=generator) * 4 + 1
    weights = torch.ones(batch, count, dtype=dtype) if weights is None else weights.to(dtype)
    return HeatmapTarget(points, weights > 0, weights, size, 1.5, shape=shape)


def slow_features(names, height, width):
    """Return {pixel: list of features}, normalised, from their definition in the plane."""
    pixels = [(row, column) for row in range(height) for column in range(width)]
    maps = []
    for name in names:
        offsets = [(c - (width - 1) / 2, r - (height - 1) / 2) for r, c in pixels]
        if name == "cartesian":
            maps += [[x for x, _ in offsets], [y for _, y in offsets]]
        else:
            maps += [[math.hypot(x, y) for x, y in offsets], [math.atan2(y, x) for x, y in offsets]]
    for values in maps:
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + 1e-5)
        values[:] = [(v - mean) / spread for v in values]
    return {pixel: [values[i] for values in maps] for i, pixel in enumerate(pixels)}


def slow_embedding(heatmap, features, beta):
    """Equations 1 and 2 for one heatmap."""
    weight = {pixel: math.exp(beta * float(heatmap[pixel])) for pixel in features}
    total = sum(weight.values())
    length = len(next(iter(features.values())))
    return [sum(weight[p] / total * features[p][i] for p in features) for i in range(length)]


def slow_loss(pred, target, names, beta, gamma, reduction):
    """Equations 3 and 4, weights and masks included."""
    truth, weights = target.heatmaps, target.weights
    height, width = pred.shape[2:]
    features = slow_features(names, height, width)
    pixels = sum(
        float(weights[b, k]) * sum(float(pred[b, k][p] - truth[b, k][p]) ** 2 for p in features)
        for b in range(len(pred))
        for k in range(pred.shape[1])
    )
    pairs, total = 0.0, 0.0
    for b in range(len(pred)):
        present = [k for k in range(pred.shape[1]) if weights[b, k] > 0]
        if len(present) < 2:
            continue
        x = {k: slow_embedding(pred[b, k], features, beta) for k in present}
        o = {k: slow_embedding(truth[b, k], features, beta) for k in present}
        for i in present:
            for j in present:
                cx = sum(p * q for p, q in zip(x[i], x[j], strict=True))
                co = sum(p * q for p, q in zip(o[i], o[j], strict=True))
                weight = float(weights[b, i] * weights[b, j])
                pairs, total = pairs + weight * (cx - co) ** 2, total + weight
    if reduction == "mean":
        return pixels / (height * width * float(weights.sum())) + gamma * (pairs / total if total else 0.0)
    return pixels / len(pred) + gamma * pairs / len(pred)


WEIGHTS = torch.tensor([[1.0, 0.0, 2.0, 1.0], [0.0, 0.5, 0.0, 0.0]])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("features", [["cartesian"], ["polar"], ["cartesian", "polar"]])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["all", "masked"])
def test_equals_the_equations(features, reduction, weights):
    target = target_of(weights=weights)
    pred = torch.randn(2, 4, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    loss = MODELS.build(
        dict(
            type="SpatialConfigurationLoss",
            gamma=0.3,
            beta=2.5,
            features=features,
            reduction=reduction,
            heatmap_loss=dict(type="HeatmapMSELoss", reduction=reduction),
        )
    )
    expected = slow_loss(pred, target, features, 2.5, 0.3, reduction)
    assert float(loss(pred, target)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [(5, 6), (4, 3, 5)])
def test_gradient_is_that_of_the_loss(size):
    target = target_of(2, 3, size, weights=torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]]))
    loss = MODELS.build(dict(type="SpatialConfigurationLoss", gamma=0.5, beta=3.0))
    pred = torch.randn(2, 3, *size, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(p, target), (pred,))


def test_the_gradient_equals_that_of_plain_pytorch():
    """In float32, at the size of a small X-ray, against the equations in float64."""
    target = target_of(1, 6, (80, 64), dtype=torch.float32)
    pred = (torch.rand(1, 6, 80, 64) * 0.3).requires_grad_()
    loss = MODELS.build(dict(type="SpatialConfigurationLoss", gamma=10.0, heatmap_loss=None))
    loss(pred, target).backward()
    exact = pred.detach().double().requires_grad_()
    maps = spatial_features(["cartesian", "polar"], (80, 64)).flatten(1)

    def correlation(heatmaps):
        embedding = (10 * heatmaps).flatten(2).softmax(-1) @ maps.T
        return embedding @ embedding.mT

    (10 * (correlation(exact) - correlation(target.heatmaps.double())).square().mean()).backward()
    bound = 1e-3 * float(exact.grad.abs().max())
    torch.testing.assert_close(pred.grad.double(), exact.grad, rtol=1e-3, atol=bound)


def test_perfect_heatmaps_cost_nothing():
    target = target_of()
    loss = MODELS.build(dict(type="SpatialConfigurationLoss", gamma=1.0))
    assert float(loss(target.heatmaps.clone(), target)) == 0


def test_one_landmark_that_is_left_has_no_configuration():
    weights = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    target = target_of(1, weights=weights)
    pred = torch.randn(1, 4, 7, 9, dtype=torch.float64).requires_grad_()
    loss = MODELS.build(dict(type="SpatialConfigurationLoss", gamma=1.0, heatmap_loss=None))
    value = loss(pred, target)
    value.backward()
    assert float(value.detach()) == 0
    assert not pred.grad.any()


def test_a_single_landmark_is_refused():
    loss = MODELS.build(dict(type="SpatialConfigurationLoss"))
    with pytest.raises(ValueError, match=r"needs at least two landmarks.*HeatmapMSELoss"):
        loss(torch.zeros(1, 1, 7, 9, dtype=torch.float64), target_of(1, 1))


def test_stands_beside_another_loss():
    """With no heatmap loss of its own it is the second term alone."""
    target, pred = target_of(), torch.randn(2, 4, 7, 9, dtype=torch.float64)
    whole = MODELS.build(dict(type="SpatialConfigurationLoss", gamma=0.2, loss_weight=3.0))(pred, target)
    term = MODELS.build(dict(type="SpatialConfigurationLoss", gamma=0.2, loss_weight=3.0, heatmap_loss=None))(
        pred, target
    )
    squares = MODELS.build(dict(type="HeatmapMSELoss", loss_weight=3.0))(pred, target)
    torch.testing.assert_close(whole, squares + term)


def test_features_of_ones_own(monkeypatch):
    monkeypatch.setattr(SPATIAL_FEATURES, "_module_dict", dict(SPATIAL_FEATURES.module_dict))

    @SPATIAL_FEATURES.register_module(name="diagonal")
    def diagonal(size, power=1):
        rows, columns = torch.meshgrid(*map(torch.arange, size), indexing="ij")
        return ((rows + columns) ** power)[None].double()

    config = dict(type="SpatialConfigurationLoss", features=["cartesian", dict(type="diagonal", power=2)])
    loss = MODELS.build(config)
    assert loss(torch.rand(2, 4, 7, 9, dtype=torch.float64), target_of()) > 0
    assert spatial_features(config["features"], (7, 9)).shape == (3, 7, 9)


def test_more_features_than_the_operator_takes_at_once(monkeypatch):
    monkeypatch.setattr(SPATIAL_FEATURES, "_module_dict", dict(SPATIAL_FEATURES.module_dict))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(9, 4, 3, 5, dtype=torch.float64, generator=generator)

    @SPATIAL_FEATURES.register_module(name="only_in_space")
    def only_in_space(size):
        depth, height, width = size
        return noise[:, :depth, :height, :width]

    target = target_of(2, 3, (4, 3, 5))
    pred = torch.randn(2, 3, 4, 3, 5, dtype=torch.float64, generator=generator)
    config = dict(type="SpatialConfigurationLoss", gamma=1.0, heatmap_loss=None, beta=2.0)
    loss = MODELS.build(dict(config, features=["only_in_space", "cartesian"]))
    maps = spatial_features(["only_in_space", "cartesian"], (4, 3, 5)).flatten(1)

    def correlation(heatmaps):
        embedding = (2 * heatmaps).flatten(2).softmax(-1) @ maps.T
        return embedding @ embedding.mT

    expected = (correlation(pred) - correlation(target.heatmaps)).square().mean()
    torch.testing.assert_close(loss(pred, target), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(gamma=-1e-4), "gamma must not be negative"),
        (dict(gamma=float("nan")), "gamma must not be negative"),
        (dict(beta=0), "beta positive"),
        (dict(reduction="none"), "reduction must be"),
        (dict(features="polar"), "a list of names"),
        (dict(features=[]), "at least one"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type="SpatialConfigurationLoss", **changes))


def test_an_unknown_feature_lists_the_nearest():
    with pytest.raises(KeyError, match="Did you mean polar"):
        MODELS.build(dict(type="SpatialConfigurationLoss", features=["pola"]))
