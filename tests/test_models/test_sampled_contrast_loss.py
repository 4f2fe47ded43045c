"""The loss of SAM against plain loops that follow its description."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from mmlandmark.engine import load_config
from mmlandmark.models.losses import SampledContrastLoss
from mmlandmark.models.similarity import PatchPair
from mmlandmark.registry import MODELS

STRIDES = (2, 16)


def pair(batch=2, size=(96, 128), channels=6, seed=0, count=2):
    """Random embeddings of two levels, and points that are whole pixels."""
    torch.manual_seed(seed)

    def levels():
        return [
            torch.randn(batch, channels, *[side // s for side in size]).double().requires_grad_()
            for s in STRIDES
        ]

    def points():
        return torch.stack([torch.randint(0, side, (batch, count)) for side in reversed(size)], 2).double()

    mask = torch.ones(batch, count, dtype=torch.bool)
    return PatchPair(levels(), levels(), points(), points(), mask, size, size)


def cosine(a, b):
    a, b = a.detach(), b.detach()
    return float(a @ b) / (math.sqrt(a @ a) * math.sqrt(b @ b) + 1e-3)


def slow(pair, others, hard=(0, 0), apart=0, factor=10):
    """Return the loss by loops over levels, points and the others (B, N, n, 2) of every level."""
    total = 0.0
    for stride, image, patch, drawn, count in zip(
        STRIDES, pair.features, pair.patch_features, others, hard, strict=True
    ):
        for b, n in np.ndindex(*pair.mask.shape):
            x, y = (int(v) // stride for v in pair.points[b, n])
            px, py = (int(v) // stride for v in pair.patch_points[b, n])
            anchor = patch[b, :, py, px]

            def far(c, r, x=x, y=y):
                return abs(c - x) > apart or abs(r - y) > apart

            values = [cosine(anchor, image[b, :, r, c]) for c, r in drawn[b, n].tolist() if far(c, r)]
            height, width = image.shape[2:]
            every = [
                cosine(anchor, image[b, :, r, c]) for r in range(height) for c in range(width) if far(c, r)
            ]
            values += sorted(every)[max(0, len(every) - count) :]
            true = factor * cosine(anchor, image[b, :, y, x])
            total += math.log(math.exp(true) + sum(math.exp(factor * value) for value in values)) - true
    return total / pair.mask.numel()


def drawn(loss, own, seed=7):
    """Return the others that a loss draws with a seed, of all levels."""
    torch.manual_seed(seed)
    return [
        loss.others(
            torch.div(own.points, stride, rounding_mode="floor").long(), f.shape[2:], level, (stride,) * 2
        )
        for level, (stride, f) in enumerate(zip(STRIDES, own.features, strict=True))
    ]


@pytest.mark.parametrize(
    "options", [{}, dict(hard=(30, 5)), dict(hard=10, apart=2), dict(random=(0, 0), hard=7)], ids=str
)
def test_it_equals_the_loops(options):
    own = pair()
    loss = SampledContrastLoss(**dict(dict(random=(80, 40), radius=(20, None)), **options))
    others = drawn(loss, own)
    torch.manual_seed(7)
    value = loss(own)
    hard = options.get("hard", 0)
    hard = (hard, hard) if isinstance(hard, int) else hard
    assert value.item() == pytest.approx(slow(own, others, hard, options.get("apart", 0)), abs=1e-9)
    value.backward()
    assert all(bool(f.grad.any()) for f in (*own.features, *own.patch_features))


def test_the_shipped_loss_of_the_publication_has_hard_negatives():
    """At an image of 192 x 256 pixels its finest level has 12,288 pixels, of which 500 are hard negatives."""
    model = load_config("mmlandmark::one_shot/sam_resnet34-hard_isbi2015_512x512.py").model
    loss = MODELS.build(model.contrast)
    assert (loss.hard, loss.temperature) == ([500, 500], 2)
    own = pair(batch=1, size=(192, 256), count=1)
    torch.manual_seed(7)
    value = loss(own)
    others = drawn(loss, own)
    assert [o.shape[2] for o in others] == [500, 0]
    assert value.item() == pytest.approx(slow(own, others, (500, 500), 3, 2), abs=1e-9)
    # Harder than as many random ones.
    assert value > SampledContrastLoss((1000, 100), 0, (None, None), 3, 2.0)(own)


def test_others_lie_within_their_radius():
    own = dataclasses.replace(pair(batch=3), points=torch.tensor([[[0.0, 0], [127, 95]]] * 3).double())
    near, anywhere = drawn(SampledContrastLoss(random=(4000, 4000), radius=(20, None)), own)
    assert near[:, 0].amin((0, 1)).tolist() == [0, 0]
    assert near[:, 0].amax((0, 1)).tolist() == [10, 10]
    assert near[:, 1].amin((0, 1)).tolist() == [53, 37]
    assert near[:, 1].amax((0, 1)).tolist() == [63, 47]
    assert set(map(tuple, anywhere[0, 0].tolist())) == {(x, y) for x in range(8) for y in range(6)}


def test_a_point_that_is_not_seen_does_not_count():
    own, loss = pair(), SampledContrastLoss(random=(0, 0), hard=9)
    some = dataclasses.replace(own, mask=torch.tensor([[True, False], [False, False]]))
    rest = dataclasses.replace(
        own,
        features=[f[:1] for f in own.features],
        patch_features=[f[:1] for f in own.patch_features],
        points=own.points[:1, :1],
        patch_points=own.patch_points[:1, :1],
        mask=own.mask[:1, :1],
    )
    torch.testing.assert_close(loss(some), loss(rest))
    assert loss(dataclasses.replace(own, mask=torch.zeros_like(own.mask))).item() == 0


def test_it_works_in_volumes():
    torch.manual_seed(0)
    features = [torch.randn(2, 4, side, side, side, requires_grad=True) for side in (8, 4)]
    points, mask = torch.full((2, 1, 3), 5.0), torch.ones(2, 1, dtype=torch.bool)
    own = PatchPair(features, features, points, points, mask, (16,) * 3, (16,) * 3)
    loss = SampledContrastLoss(random=(50, 10), radius=(6, None), hard=5)
    value = loss(own)
    value.backward()
    assert features[0].grad.any()
    assert loss(dataclasses.replace(own, patch_features=[-f for f in features])) > value


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match=r"one number of random, hard and radius for each level, got \[5\]"):
        SampledContrastLoss(random=[5])
    for alone in (dict(random=5), dict(radius=None), dict(random=(), radius=())):
        with pytest.raises(ValueError, match="one number of random, hard and radius for each level"):
            SampledContrastLoss(**alone)
    with pytest.raises(ValueError, match=r"other pixels at every level, .* got random=\[5, 0\]"):
        SampledContrastLoss(random=(5, 0))
    with pytest.raises(ValueError, match="temperature and radius must be positive, got 10"):
        SampledContrastLoss(radius=(0, None))
    with pytest.raises(ValueError, match="is for 3 levels, the network has 2: give one number"):
        SampledContrastLoss(random=(5, 5, 5), radius=(None,) * 3)(pair())


def test_a_radius_without_others_is_refused():
    for options in (dict(radius=(5, 12)), dict(radius=(9, 40), apart=2)):
        with pytest.raises(ValueError, match=r"level 1 has a pixel for every 16 of the image.*radius\[1\]"):
            SampledContrastLoss(random=(9, 9), **options)(pair())
    assert SampledContrastLoss(random=(9, 9), hard=3, radius=(5, 12))(pair()) > 0


def test_points_count_by_their_weights():
    two = pair(count=1)
    each = [
        SampledContrastLoss((0, 0), 8)(dataclasses.replace(two, mask=m))
        for m in torch.eye(2).bool()[:, :, None]
    ]
    weighed = dataclasses.replace(two, weights=torch.tensor([[0.5], [1.0]]))
    torch.testing.assert_close(SampledContrastLoss((0, 0), 8)(weighed), (0.5 * each[0] + each[1]) / 1.5)
