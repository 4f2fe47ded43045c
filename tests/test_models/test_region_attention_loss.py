"""Region Attention loss, against a loop over pixels; its draws."""

import itertools
import math

import pytest
import torch

from mmlandmark.models.losses import RegionAttentionLoss
from mmlandmark.ops import using_reference
from test_engine.test_resume import assert_same, four_and_two_and_two
from test_models.detector_cases import detector, samples
from test_models.loss_cases import target_of

WEIGHTS = torch.tensor([[1.0, 0.5, 2.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
HEAD = dict(
    bias_init=-8.0,
    codec=dict(type="GaussianHeatmapCodec", sigma=1.5, activation="sigmoid", decoder="integral"),
    loss=dict(type="RegionAttentionLoss"),
)


def slow_distance(logits, point, norm):
    """Return the mean distance of a sigmoid map's mass from a point, normalised, pixel by pixel."""
    sides, mass, moment = [s - 1 for s in logits.shape], 0.0, 0.0
    for place in itertools.product(*map(range, logits.shape)):
        height = 1 / (1 + math.exp(-float(logits[place])))
        away = [(p - float(c)) / side for p, c, side in zip(place, point.flip(0), sides, strict=True)]
        mass += height
        moment += height * (math.hypot(*away) if norm == 2 else sum(map(abs, away)))
    return moment / mass


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("size", [(6, 7), (4, 5, 7)])
@pytest.mark.parametrize("native", [True, False])
def test_it_equals_equation_10(size, norm, native):
    target = target_of(size=size, weights=WEIGHTS)
    pred = torch.randn(2, 3, *size, dtype=torch.float64)
    total = 0.0
    for b, k in itertools.product(range(2), range(3)):
        total += float(WEIGHTS[b, k]) * abs(0.3 - slow_distance(pred[b, k], target.landmarks[b, k], norm))
    loss = RegionAttentionLoss(mean=0.3, std=0.0, norm=norm, activation="sigmoid", reduction="sum")
    if native:
        value = loss(pred, target)
    else:
        with using_reference():
            value = loss(pred, target)
    assert float(value) == pytest.approx(total / 2)


@pytest.mark.parametrize("norm", [1, 2])
def test_gradients(norm):
    target = target_of(weights=WEIGHTS)
    pred = torch.randn(2, 3, 6, 7, dtype=torch.float64, requires_grad=True)
    for activation in (None, "sigmoid", "softmax"):
        loss = RegionAttentionLoss(std=0.0, norm=norm, activation=activation)
        assert torch.autograd.gradcheck(lambda p, loss=loss: loss(p, target), pred)


def test_offsets_are_drawn_for_every_landmark_and_iteration():
    target = target_of(batch=40, count=50, dtype=torch.float32, weights=torch.ones(40, 50))
    pred = torch.randn(40, 50, 6, 7)
    loss = RegionAttentionLoss(activation="sigmoid")
    far = loss.distances(pred, target)
    assert far.min() > 0.05  # so that the loss is the distance less the offset
    torch.manual_seed(0)
    first, second = (far - loss.per_landmark(pred, target) for _ in range(2))
    assert float(first.mean()) == pytest.approx(0.01, abs=5e-4)
    assert float(first.std()) == pytest.approx(0.005, rel=0.05)
    assert float(first.min()) == pytest.approx(0.0, abs=1e-6)  # 2 % of the draws are negative
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.1
    torch.manual_seed(0)
    torch.testing.assert_close(first, far - loss.per_landmark(pred, target))


def test_a_region_about_the_label_is_enough():
    """Any map whose mass lies as far away as was drawn has no loss: it need not be centred."""
    ring, shifted = torch.full((2, 1, 1, 101, 101), -50.0)
    for x, y in ((48, 50), (52, 50), (50, 48), (50, 52)):
        ring[0, 0, y, x] = 5.0
    shifted[0, 0, 50, 52] = 5.0
    target = target_of(batch=1, count=1, size=(101, 101), dtype=torch.float32)
    target.landmarks[:] = 50.0
    loss = RegionAttentionLoss(mean=0.02, std=0.0, activation="sigmoid")
    assert float(loss(ring, target)) == pytest.approx(0, abs=1e-6)
    assert float(loss(shifted, target)) == pytest.approx(0, abs=1e-6)
    shifted[0, 0, 50, 50:54] = torch.tensor([-50.0, -50.0, -50.0, 5.0])
    assert float(loss(shifted, target)) == pytest.approx(0.01, abs=1e-6)


def test_masked_landmarks_and_weights_of_a_sample_count():
    """As pseudo labels come: points, visibility and weights in the sample."""
    model, images = detector(head=HEAD), torch.rand(2, 1, 32, 40)
    cases = samples()
    cases[0].gt_visibility[1] = 0  # rejected
    cases[1].gt_weights[:] = torch.tensor([1.0, 0.25, 0.0])
    loss = model.head.losses["regionattention"]
    loss.std = 0.0
    with torch.no_grad():
        maps = model(images)
        target = model.head.encode(cases, (32, 40), (32, 40), "cpu")
        errors = (0.01 - loss.distances(maps, target)).abs()
        weights = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.25, 0.0]])
        expected = (errors * weights).sum() / weights.sum()
        torch.testing.assert_close(model(images, cases, "loss")["loss_regionattention"], expected)


def test_a_resumed_run_draws_the_same(tmp_path):
    model = dict(head=dict(HEAD, type="HeatmapHead", num_landmarks=19))
    whole, parts = four_and_two_and_two(tmp_path, model=model)
    assert_same(whole, parts)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"mean and std must not be negative, got 0\.01 and -1"):
        RegionAttentionLoss(std=-1)
    with pytest.raises(ValueError, match="norm of a distance must be 1 or 2, got 3"):
        RegionAttentionLoss(norm=3)
    with pytest.raises(ValueError, match="reduction must be 'mean' or 'sum'"):
        RegionAttentionLoss(reduction="none")
