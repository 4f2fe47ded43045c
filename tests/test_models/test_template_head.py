"""Maps by templates against plain loops that follow the description of CC2D's inference."""

import math

import numpy as np
import pytest
import torch

from mmlandmark.models.heads import TemplateHead
from mmlandmark.structures import LandmarkDataSample

CODEC = dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax")
STRIDES = (2, 4, 8)


def levels_of(batch, size, seed, channels=5):
    torch.manual_seed(seed)
    return [torch.randn(batch, channels, *[s // stride for s in size]).double() for stride in STRIDES]


def head(count=3, templates=1, **kwargs):
    return TemplateHead([5] * len(STRIDES), count, CODEC, templates, **kwargs)


def taught(points, size, templates=1, count=3, shown=None):
    own = head(count, templates).double()
    for t in range(templates):
        known = torch.ones(count, dtype=torch.bool) if shown is None else shown[t]
        own.learn(t, levels_of(1, size, 100 + t), points[t][None], size, known)
    return own


def enlarged(cosines, size):
    """Return a map (H, W) at another size by linear interpolation between pixel centres."""
    height, width = cosines.shape
    result = np.empty(size)
    for r in range(size[0]):
        for c in range(size[1]):
            y = min(max((r + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((c + 0.5) * width / size[1] - 0.5, 0), width - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            upper = cosines[y0, x0] * (1 - (x - x0)) + cosines[y0, x1] * (x - x0)
            lower = cosines[y1, x0] * (1 - (x - x0)) + cosines[y1, x1] * (x - x0)
            result[r, c] = upper * (1 - (y - y0)) + lower * (y - y0)
    return result


def slow(levels, template, point, size, case):
    """Return one landmark's map by loops."""
    product = np.ones(size)
    for level, own, stride in zip(levels, template, STRIDES, strict=True):
        x, y = (int(v) // stride for v in point)
        anchor = own[0, :, y, x]
        cosines = np.empty(level.shape[2:])
        for r in range(level.shape[2]):
            for c in range(level.shape[3]):
                f = level[case, :, r, c]
                value = float(f @ anchor) / (math.sqrt(f @ f) * math.sqrt(anchor @ anchor) + 1e-3)
                cosines[r, c] = min(max(value, 0), 1)
        product *= enlarged(cosines, size)
    return product


def test_the_cascade_equals_the_loops():
    size = (24, 32)
    points = torch.tensor([[[3.0, 5.0], [31.0, 23.0], [14.0, 0.0]]])
    own, levels = taught(points, size), levels_of(2, size, 1)
    (maps,) = own([*levels, torch.zeros(2, 1, *size)])
    template = levels_of(1, size, 100)
    detection = own.predict(maps, size)
    for b in range(2):
        for k in range(3):
            wanted = slow(levels, template, points[0, k], size, b)
            np.testing.assert_allclose(maps[b, k].numpy(), wanted, atol=1e-12)
            row, column = np.unravel_index(wanted.argmax(), size)
            assert detection.points[b, 0, k].tolist() == [column, row]
            assert float(detection.scores[b, 0, k]) == pytest.approx(wanted.max())


def test_the_template_finds_itself():
    size = (64, 80)
    points = torch.tensor([[[10.0, 22.0], [50.0, 40.0], [70.0, 61.0]]])
    own = TemplateHead([128] * 3, 3, CODEC).double()
    levels = levels_of(1, size, 100, channels=128)  # so many that other pixels are hardly alike
    own.learn(0, levels, points, size, torch.ones(3, dtype=torch.bool))
    (maps,) = own([*levels, torch.zeros(1, 1, *size)])
    # Within the cell of the finest level.
    assert (own.predict(maps, size).points[0, 0] - points[0]).abs().max() <= 1


@pytest.mark.parametrize("dims", [2, 3])
def test_landmarks_may_have_features_of_their_own(dims):
    """Features (B, K, C, *S) of one landmark at a time are those of a head of one landmark."""
    size = (16, 24, 8)[:dims]
    points = torch.tensor([[[3.0, 5.0, 1.0], [20.0, 15.0, 7.0], [14.0, 0.0, 3.0]]])[..., :dims].double()
    torch.manual_seed(0)
    template, levels = (
        [torch.randn(b, 3, 5, *[s // stride for s in size]).double() for stride in (2, 4)] for b in (2, 2)
    )
    own = TemplateHead([5, 5], 3, CODEC, num_templates=2, dims=dims).double()
    known = torch.tensor([[True, True, False], [True, False, False]])
    for t in range(2):
        own.learn(t, [level[t : t + 1] for level in template], points, size, known[t])
    (maps,) = own([*levels, torch.zeros(2, 1, *size)])
    for k in range(3):
        alone = TemplateHead([5, 5], 1, CODEC, num_templates=2, dims=dims).double()
        for t in range(2):
            views = [level[t : t + 1, k] for level in template]
            alone.learn(t, views, points[:, k : k + 1], size, known[t, k : k + 1])
        (one,) = alone([*(level[:, k] for level in levels), torch.zeros(2, 1, *size)])
        torch.testing.assert_close(maps[:, k : k + 1], one, equal_nan=True)


def test_templates_are_averaged_where_they_show_the_landmark():
    size = (24, 32)
    points = torch.tensor([[[3.0, 5.0], [31.0, 23.0], [14.0, 0.0]], [[8.0, 5.0], [20.0, 9.0], [2.0, 1.0]]])
    shown = torch.tensor([[True, True, False], [True, False, False]])
    both = taught(points, size, 2, shown=shown)
    levels = [*levels_of(2, size, 1), torch.zeros(2, 1, *size)]
    (maps,) = both(levels)
    first, second = both.similarities(levels[:-1], size)
    torch.testing.assert_close(maps[:, 0], (first[:, 0] + second[:, 0]) / 2)
    torch.testing.assert_close(maps[:, 1], first[:, 1])
    assert maps[:, 2].isnan().all()
    detection = both.predict(maps, size)
    assert detection.points[:, 0, 2].isnan().all()
    assert not detection.scores[:, 0, 2].any()


def test_a_decoder_finds_places_between_pixels():
    size = (24, 32)
    points = torch.tensor([[[3.0, 5.0], [30.0, 21.0], [14.0, 9.0]]])
    own = taught(points, size)
    levels = [*levels_of(1, size, 100), torch.zeros(1, 1, *size)]
    finer = TemplateHead([5] * 3, 3, dict(CODEC, decoder="quadratic")).double()
    finer.load_state_dict(own.state_dict())
    whole, between = (h.predict(h(levels)[0], size).points for h in (own, finer))
    assert torch.equal(whole, whole.round())
    assert 0 < (whole - between).abs().max() <= 0.5


def test_features_travel_with_the_weights():
    size = (24, 32)
    own = taught(torch.tensor([[[3.0, 5.0], [31.0, 23.0], [14.0, 0.0]]]), size)
    assert sum(p.numel() for p in own.parameters()) == 0
    assert {name: tuple(v.shape) for name, v in own.state_dict().items()} == {
        "template0": (1, 3, 5),
        "template1": (1, 3, 5),
        "template2": (1, 3, 5),
        "shown": (1, 3),
    }


def test_a_map_can_be_learnt_from_annotation():
    """The maps have a gradient, for methods that compare them with annotated landmarks."""
    size = (24, 32)
    own = taught(torch.tensor([[[3.0, 5.0], [31.0, 23.0], [14.0, 0.0]]]), size)
    levels = [level.requires_grad_() for level in levels_of(1, size, 1)]
    own([*levels, torch.zeros(1, 1, *size)])[0].sum().backward()
    assert all(level.grad.any() for level in levels)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="one map per landmark, VotingCodec takes 3"):
        TemplateHead([5], 3, dict(type="VotingCodec", radius=3.0))
    with pytest.raises(ValueError, match="num_templates of TemplateHead must be at least 1, got 0"):
        head(templates=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_distance_aware_similarity(dims):
    """FM-OSD: squared errors of cosines with the image's own landmarks, against a Gaussian of height 1."""
    size = (6, 7, 5)[:dims]
    own = TemplateHead([4], 2, CODEC, loss=dict(type="HeatmapMSELoss"), anchors="image", dims=dims).double()
    torch.manual_seed(0)
    level = torch.randn(2, 4, *size).double().requires_grad_()
    points = np.array([[[3.4, 2.2, 1.0], [1.0, 4.7, 2.6]], [[2.0, 1.0, 3.0], [40.0, 1.0, 1.0]]])[..., :dims]
    points[0, 1] = np.nan
    samples = [
        LandmarkDataSample.from_landmarks(p, sample_id=str(i), ori_shape=size) for i, p in enumerate(points)
    ]
    loss = own.loss([level, torch.zeros(2, 1, *size)], samples, size)["loss_heatmapmse"]
    total, count = 0.0, 0
    features = level.detach().numpy()
    for b, k in ((0, 0), (1, 0)):  # the others are missing, or outside of the image
        anchor = features[(b, slice(None), *[int(v + 0.5) for v in points[b, k][::-1]])]
        for pixel in np.ndindex(*size):
            f = features[(b, slice(None), *pixel)]
            cosine = float(f @ anchor) / (math.sqrt(f @ f) * math.sqrt(anchor @ anchor) + 1e-3)
            distance = math.dist(pixel[::-1], points[b, k])
            total, count = total + (cosine - math.exp(-(distance**2) / 8)) ** 2, count + 1
    assert loss.item() == pytest.approx(total / count, rel=1e-6)
    loss.backward()
    assert torch.isfinite(level.grad).all()
    assert all(grad.any() for grad in level.grad)


def test_anchors_of_the_image_are_those_of_one_level():
    with pytest.raises(ValueError, match="of one level of features, of the 'image', got 'image' with 3"):
        head(anchors="image")
    with pytest.raises(ValueError, match="got 'both' with 3 levels"):
        head(anchors="both")
