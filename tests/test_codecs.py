"""encode then decode is the identity, at every size and in both dimensions."""

import pytest
import torch

from mmlandmark.registry import CODECS


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
    decoded, scores = codec.decode(target.heatmaps, input_size)
    assert (decoded - points).abs().max() < tolerance * stride
    assert scores.min() > 0.5


def test_masked_landmarks_have_empty_targets():
    codec = CODECS.build(dict(type="GaussianHeatmapCodec", sigma=1.0))
    points = torch.tensor([[[float("nan"), 1.0], [3.0, 3.0], [2.0, 2.0]]])
    target = encoded(codec, points, (8, 8), (8, 8), torch.tensor([[True, True, False]]))
    assert target.mask.tolist() == [[False, True, False]]
    assert target.weights.tolist() == [[0.0, 1.0, 0.0]]
    assert target.heatmaps.flatten(2).sum(-1)[0, [0, 2]].tolist() == [0.0, 0.0]


def test_score_of_a_softmax_is_a_probability():
    codec = CODECS.build(dict(type="GaussianHeatmapCodec", sigma=1.0, activation="softmax"))
    logits = torch.zeros(1, 2, 20, 20)
    logits[0, 0, 5, 5] = 30.0
    _, scores = codec.decode(codec.activate(logits), (20, 20))
    assert scores[0, 0] == pytest.approx(1.0)
    assert scores[0, 1] < 0.1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(sigma=0), "must be positive"),
        (dict(sigma=1, decoder="guess"), "decoder must be one of"),
        (dict(sigma=1, activation="relu"), "activation must be"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        CODECS.get("HeatmapCodec")(**kwargs)
