"""The loss of CC2D against plain loops that follow its description."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from mmlandmark.models.losses import CascadeContrastLoss
from mmlandmark.models.similarity import PatchPair

STRIDES = (2, 4, 8, 16, 32)


def pair(batch=3, size=(96, 128), patch=(64, 96), channels=6, seed=0, count=1):
    """Random embeddings of five levels, and points that are whole pixels."""
    torch.manual_seed(seed)

    def levels(sides):
        return [
            torch.randn(batch, channels, *[side // s for side in sides]).double().requires_grad_()
            for s in STRIDES
        ]

    def points(sides):
        return torch.stack([torch.randint(0, side, (batch, count)) for side in reversed(sides)], 2).double()

    mask = torch.ones(batch, count, dtype=torch.bool)
    return PatchPair(levels(size), levels(patch), points(size), points(patch), mask, size, patch)


def cosine(a, b):
    a, b = a.detach(), b.detach()
    return float(a @ b) / (math.sqrt(a @ a) * math.sqrt(b @ b) + 1e-3)


def cc2d(cosine, distance):
    return 10 * cosine + min(0.07 * 10 * distance, 0.8 * 10)


def uod(cosine, _):
    return min(max(cosine, 0.0), 1.0)


def slow(pair, window=11, logit=cc2d):
    """Return the loss by loops over levels, images and pixels (image // stride, patch // stride)."""
    total = 0.0
    for stride, image, patch in zip(STRIDES, pair.features, pair.patch_features, strict=True):
        height, width = image.shape[2:]
        for b, n in np.ndindex(*pair.mask.shape):
            x, y = (int(v) // stride for v in pair.points[b, n])
            px, py = (int(v) // stride for v in pair.patch_points[b, n])
            anchor = patch[b, :, py, px]
            rows, columns = range(height), range(width)
            if stride != 32:
                rows = range(max(0, y - window), min(height, y + window))
                columns = range(max(0, x - window), min(width, x + window))
            logits = {
                (r, c): logit(cosine(anchor, image[b, :, r, c]), math.hypot(r - y, c - x))
                for r in rows
                for c in columns
            }
            total += math.log(sum(math.exp(v) for v in logits.values())) - logits[y, x]
    return total / pair.mask.numel()


@pytest.mark.parametrize("count", [1, 4])
def test_it_equals_the_loops(count):
    own = pair(count=count)
    loss = CascadeContrastLoss()(own)
    assert loss.item() == pytest.approx(slow(own), abs=1e-9)
    loss.backward()
    assert all(bool(f.grad.any()) for f in (*own.features, *own.patch_features))


def test_the_loss_of_uod_equals_its_loops():
    own = pair(count=2, channels=3)
    loss = CascadeContrastLoss(temperature=1, margin=0, window=6, clamp=True)(own)
    assert loss.item() == pytest.approx(slow(own, 6, uod), abs=1e-9)
    assert loss.item() != pytest.approx(slow(own, 6, lambda c, _: c), abs=1e-3)
    loss.backward()
    assert all(bool(f.grad.any()) for f in (*own.features, *own.patch_features))


def test_it_equals_the_loops_at_the_corners():
    own = pair(batch=4)
    ends = torch.tensor([[0.0, 0.0], [127.0, 0.0], [0.0, 95.0], [127.0, 95.0]]).double()
    own = dataclasses.replace(own, points=ends[:, None])
    assert CascadeContrastLoss()(own).item() == pytest.approx(slow(own), abs=1e-9)


def test_an_image_without_a_point_does_not_count():
    own = pair()
    some = dataclasses.replace(own, mask=torch.tensor([[True], [False], [True]]))
    rest = [0, 2]
    less = dataclasses.replace(
        own,
        features=[f[rest] for f in own.features],
        patch_features=[f[rest] for f in own.patch_features],
        points=own.points[rest],
        patch_points=own.patch_points[rest],
        mask=own.mask[rest],
    )
    loss = CascadeContrastLoss()
    torch.testing.assert_close(loss(some), loss(less))
    nothing = dataclasses.replace(own, mask=torch.zeros(3, 1, dtype=torch.bool))
    assert loss(nothing).item() == 0


def test_a_gradient_is_right():
    own = pair(batch=1, size=(64, 96), patch=(32, 32), channels=2)

    def loss(*features):  # of the two coarsest levels: one with windows, one as a whole
        parts = dataclasses.replace(own, features=features[:2], patch_features=features[2:])
        return CascadeContrastLoss(window=2)(parts)

    given = (*own.features[3:], *own.patch_features[3:])
    assert torch.autograd.gradcheck(loss, given, fast_mode=True)


def test_it_works_in_volumes():
    torch.manual_seed(0)
    features = [torch.randn(2, 4, side, side, side, requires_grad=True) for side in (8, 4)]
    points, mask = torch.full((2, 1, 3), 5.0), torch.ones(2, 1, dtype=torch.bool)
    own = PatchPair(features, features, points, points, mask, (16,) * 3, (16,) * 3)
    loss = CascadeContrastLoss()
    loss(own).backward()
    assert features[0].grad.any()
    # The true pixel is perfectly alike; only the margin speaks against it.
    alike = [f.detach() for f in features]
    other = dataclasses.replace(own, features=alike, patch_features=[-f for f in alike])
    assert loss(dataclasses.replace(own, features=alike, patch_features=alike)) < loss(other)


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="positive temperature and window"):
        CascadeContrastLoss(temperature=0)
    with pytest.raises(ValueError, match="margin=-1"):
        CascadeContrastLoss(margin=-1)
