"""encode then decode is the identity, at every size and in both dimensions."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlandmark.ops.backend import using_reference
from mmlandmark.registry import CODECS

DECODERS = ("argmax", "quadratic", "dark", "local_centroid", "soft_argmax", "blob_centroid")


def encoded(codec, points, input_size, map_size, mask=None):
    mask = torch.ones(points.shape[:2], dtype=torch.bool) if mask is None else mask
    return codec.encode(points, mask, torch.ones(points.shape[:2]), input_size, map_size)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("config", "tolerance"),
    [
        (dict(type="GaussianHeatmapCodec", decoder="argmax"), 0.9),
        (dict(type="GaussianHeatmapCodec", decoder="quadratic"), 0.1),
        (dict(type="GaussianHeatmapCodec", decoder="dark"), 0.02),
        (dict(type="GaussianHeatmapCodec", decoder="local_centroid", window=6), 0.05),
        (dict(type="LaplaceHeatmapCodec", decoder="quadratic"), 0.5),
        (dict(type="LaplaceHeatmapCodec", decoder="blob_centroid"), 0.51),
        (dict(type="LaplaceHeatmapCodec", norm=2, decoder="blob_centroid"), 0.51),
        (dict(type="GaussianHeatmapCodec", decoder="soft_argmax"), 0.2),
    ],
)
def test_round_trip(config, tolerance, dims, stride):
    torch.manual_seed(0)
    map_size = (32, 36, 40)[-dims:]
    input_size = tuple(s * stride for s in map_size)
    codec = CODECS.build(dict(config, sigma=2.0))
    points = (torch.rand(3, 4, dims) * 8 + 14) * stride
    target = encoded(codec, points, input_size, map_size)
    detection = codec.decode(target.heatmaps, input_size)
    assert (detection.points - points).abs().max() < tolerance * stride
    assert detection.scores.min() > 0.5
    assert detection.spread is None


def test_masked_landmarks_have_empty_targets():
    codec = CODECS.build(dict(type="GaussianHeatmapCodec", sigma=1.0))
    points = torch.tensor([[[float("nan"), 1.0], [3.0, 3.0], [2.0, 2.0]]])
    target = encoded(codec, points, (8, 8), (8, 8), torch.tensor([[True, True, False]]))
    assert target.mask.tolist() == [[False, True, False]]
    assert target.weights.tolist() == [[0.0, 1.0, 0.0]]
    assert target.heatmaps.flatten(2).sum(-1)[0, [0, 2]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_width_per_axis(dims):
    sigma, size = (3.0, 2.0, 1.5)[:dims], (26, 28, 32)[-dims:]
    assert CODECS.build(dict(type="GaussianHeatmapCodec", sigma=sigma)).window == 4
    codec = CODECS.build(dict(type="GaussianHeatmapCodec", sigma=sigma, window=9))
    assert codec.peak_width == 3
    torch.manual_seed(0)
    points = 12 + 4 * torch.rand(2, 3, dims)
    target = encoded(codec, points, size, size)
    assert target.sigma.shape == (2, 3, dims)
    detection = codec.decode(target.heatmaps, size, spread=True)
    assert (detection.points - points).abs().max() < 0.05
    wanted = torch.tensor(sigma).square().diag().expand(2, 3, dims, dims)
    torch.testing.assert_close(detection.spread, wanted, rtol=0.1, atol=0.1)
    # Smaller maps have the same widths in their own pixels.
    assert torch.equal(encoded(codec, points, size, [s // 2 for s in size]).sigma, target.sigma)
    with pytest.raises(ValueError, match=f"has {dims} widths, landmarks have {5 - dims} coordinates"):
        encoded(codec, torch.rand(2, 3, 5 - dims), (28,) * (5 - dims), (28,) * (5 - dims))


def test_score_of_a_softmax_is_a_probability():
    codec = CODECS.build(dict(type="GaussianHeatmapCodec", sigma=1.0, activation="softmax"))
    logits = torch.zeros(1, 2, 20, 20)
    logits[0, 0, 5, 5] = 30.0
    scores = codec.decode(codec.activate(logits), (20, 20)).scores
    assert scores[0, 0] == pytest.approx(1.0)
    assert scores[0, 1] < 0.1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(sigma=0), "must be positive"),
        (dict(sigma=(1.0, -1.0)), "must be positive"),
        (dict(sigma=()), "must be positive"),
        (dict(sigma=float("inf")), "must be positive"),
        (dict(sigma=1, scale=float("inf")), "must be positive"),
        (dict(sigma=1, activation="relu"), "activation must be"),
        (dict(sigma=1, shape="round"), "shape must be one of .*, got 'round'"),
        (dict(sigma=1, normalize="height"), "normalize 'peak' or 'sum', got .*'height'"),
        (dict(sigma=1, shape="side_gaussian", normalize="sum"), "use normalize='peak'"),
        (dict(sigma=1, window=-1), "window of a codec must be a whole number of at least 0, got -1"),
        (dict(sigma=1, window=2.5), "window of a codec must be a whole number of at least 0, got 2.5"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        CODECS.get("HeatmapCodec")(**kwargs)


CODECS_TO_BREAK = [
    *[dict(decoder=name) for name in DECODERS],
    dict(activation="softmax"),
    dict(activation="sigmoid", decoder="dark"),
    dict(normalize="sum", decoder="soft_argmax"),
]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("config", CODECS_TO_BREAK, ids=lambda config: "-".join(config.values()))
@settings(max_examples=6, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_map_that_is_not_finite_is_no_point(config, dims, native, data):
    size = (9, 8, 7)[-dims:]
    codec = CODECS.build(dict(type="HeatmapCodec", sigma=1.5, **config))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    raw = torch.rand(2, 3, *size, generator=generator, dtype=torch.float32)
    broken = torch.tensor(data.draw(st.lists(st.booleans(), min_size=6, max_size=6))).view(2, 3)
    for b, k in broken.nonzero():
        count = data.draw(st.integers(1, raw[b, k].numel()))
        where = torch.randperm(raw[b, k].numel(), generator=generator)[:count]
        raw[b, k].view(-1)[where] = float(data.draw(st.sampled_from(["nan", "inf", "-inf"])))
    with contextlib.nullcontext() if native else using_reference():
        detection = codec.decode(codec.activate(raw), size, spread=True)
        fine = codec.decode(codec.activate(torch.where(broken.view(2, 3, *[1] * dims), 0.5, raw)), size)
    points, scores, spread = detection.points, detection.scores, detection.spread
    assert torch.equal(points.isnan().all(-1), broken)
    assert torch.equal(points.isfinite().all(-1), ~broken)
    assert (scores[broken] == 0).all()
    assert spread[broken].isnan().all()
    assert spread[~broken].isfinite().all()
    torch.testing.assert_close(
        points[~broken], fine.points[~broken], rtol=0, atol=0
    )  # the others are as ever
    torch.testing.assert_close(scores[~broken], fine.scores[~broken], rtol=0, atol=0)
