"""Room for other codecs: several maps per landmark, and parameters of their own, in unchanged detectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmlandmark.codecs import BaseCodec, GaussianHeatmapCodec, LearnedSigmaCodec
from mmlandmark.registry import MODELS
from mmlandmark.structures import Detection
from test_codecs.downstream_codecs import VoteCodec, VoteLoss, images_and_samples

SIZE = {2: (28, 32), 3: (14, 16, 18)}
VOTES = dict(codec=dict(type=VoteCodec, radius=4.0), loss=dict(type=VoteLoss))
WIDTHS = dict(
    codec=dict(type=LearnedSigmaCodec, sigma=3.0, scale=20.0, regularizer=0.05, decoder="local_centroid"),
    loss=dict(type="HeatmapMSELoss", reduction="sum"),
)
KINDS = pytest.mark.parametrize("kind", [VOTES, WIDTHS], ids=["votes", "learned sigma"])


def detector(kind, dims=2, type="LandmarkDetector", annotators=1, **kwargs):
    torch.manual_seed(0)
    head = dict(type="HeatmapHead", num_landmarks=2, num_annotators=annotators, **kind)
    if dims == 3 and kind is WIDTHS:  # as high as in the plane
        head["codec"] = dict(kind["codec"], scale=150.0)
    backbone = dict(type="UNet", widths=(8, 12))
    return MODELS.build(dict(type=type, dims=dims, backbone=backbone, head=head, **kwargs))


def train(model, images, samples, iterations=60):
    """Return the losses of every iteration."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = []
    for _ in range(iterations):
        losses = model(images, samples, "loss")
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    model.eval()
    return history


def mean_error(model, images, samples):
    with torch.no_grad():
        predicted = model(images, samples, "predict")
    errors = [(s.pred_landmarks - s.gt_landmarks).norm(dim=-1) for s in predicted]
    return float(torch.stack(errors).nan_to_num(99.0).mean())


@KINDS
@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_it_is_trained_and_decoded(kind, dims):
    model = detector(kind, dims, test_cfg=dict(spread=True))
    images, samples = images_and_samples(SIZE[dims])
    untrained = mean_error(model.eval(), images, samples)
    history = train(model.train(), images, samples, 60 if dims == 2 else 120)
    assert sum(history[-1].values()) < 0.5 * sum(history[0].values())
    assert mean_error(model, images, samples) < min(1.0, 0.3 * untrained)
    model.test_cfg["keep_heatmaps"] = True
    with torch.no_grad():
        (first, *_) = model(images, samples, "predict")
    assert first.pred_heatmaps.shape == (2, *SIZE[dims])
    peak = first.pred_heatmaps[0].flatten().argmax()
    near = torch.tensor(np.unravel_index(int(peak), SIZE[dims])[::-1])
    assert (near - first.pred_landmarks[0]).norm() < (4 if kind is VOTES else 1)
    maps = model.head.codec.maps_per_landmark
    assert model(images).shape == (4, 2 * maps, *SIZE[dims])
    for sample in samples:
        assert sample.pred_spread.shape == (2, dims, dims)
        assert (torch.linalg.eigvalsh(sample.pred_spread) > -1e-4).all()
        assert ("pred_presence" in sample) == (kind is VOTES)


def test_a_learned_width_follows_its_gradient():
    model = detector(WIDTHS)
    images, samples = images_and_samples(SIZE[2])
    assert "head.codec.sigma" in model.state_dict()
    history = train(model, images, samples)
    assert set(history[0]) == {"loss_heatmapmse", "loss_codec_sigma"}
    sigma = model.head.codec.sigma.detach()
    assert (sigma - 3.0).abs().min() > 0.05
    assert history[-1]["loss_codec_sigma"] == pytest.approx(float(0.05 * sigma.square().mean()), rel=0.05)
    # The target itself, apart from the penalty, is differentiable in the width of every landmark.
    target = model.head.encode(samples, SIZE[2], SIZE[2], "cpu")
    (slope,) = torch.autograd.grad(
        model.head.losses["heatmapmse"](model(images), target), model.head.codec.sigma
    )
    assert (slope != 0).all()


@KINDS
def test_annotators_take_their_own_maps(kind):
    model = detector(kind, annotators=2)
    images, samples = images_and_samples(SIZE[2])
    losses = model(images, samples, "loss")
    sum(losses.values()).backward()
    maps = model.head.codec.maps_per_landmark
    assert model.head.num_maps == 2 * 2 * maps
    with torch.no_grad():
        raw = model.eval()(images)
        (first, *_) = model(images, samples, "predict")
        detection = model.head.codec.decode(model.head.codec.activate(raw), SIZE[2])
    torch.testing.assert_close(first.pred_by_annotator, detection.points[0].view(2, 2, 2), equal_nan=True)


@KINDS
def test_the_mirrored_test_is_exactly_equivariant(kind):
    model = detector(kind)
    images, samples = images_and_samples(SIZE[2])
    train(model, images, samples)
    swapped = [1, 0]
    with torch.no_grad():
        straight = model.detect(images, swapped)
        mirrored = model.detect(images.flip(-1), swapped)
    back = mirrored.points[:, :, swapped] * torch.tensor([-1.0, 1.0]) + torch.tensor([SIZE[2][1] - 1.0, 0.0])
    torch.testing.assert_close(straight.points, back, atol=1e-3, rtol=0, equal_nan=True)
    maps = model.head.codec.mirrored(mirrored.maps, swapped)
    torch.testing.assert_close(straight.maps, maps)


def test_offsets_of_a_mirrored_image_point_the_other_way():
    codec = VoteCodec(radius=4.0)
    points, ones = torch.tensor([[[9.0, 12.0], [20.0, 15.0]]]), torch.ones(1, 2)

    def drawn(landmarks):
        target = codec.encode(landmarks, ones > 0, ones, (28, 32), (28, 32))
        return torch.cat([target.discs[:, :, None], target.offsets], 2).flatten(1, 2)

    mirrored = (points * torch.tensor([-1.0, 1.0]) + torch.tensor([31.0, 0.0])).flip(1)  # sides swap names
    torch.testing.assert_close(codec.mirrored(drawn(mirrored), [1, 0]), drawn(points))
    torch.testing.assert_close(codec.decode(drawn(points), (28, 32)).points, points)
    wrong = GaussianHeatmapCodec(1.0)  # which knows of one map per landmark only
    assert not torch.allclose(wrong.mirrored(drawn(points), range(6)), drawn(points))


@KINDS
def test_an_ensemble_averages_it(kind):
    model = detector(kind, type="EnsembleDetector", members=2, test_cfg=dict(spread=True))
    images, samples = images_and_samples(SIZE[2])
    train(model, images, samples)
    assert mean_error(model, images, samples) < 1.0
    with torch.no_grad():
        alone = [member.detect(images, spread=True) for member in model.members]
    torch.testing.assert_close(samples[0].pred_landmarks, Detection.mean(alone)[0].points[0])
    torch.testing.assert_close(samples[0].pred_spread, Detection.mean(alone)[0].spread[0])


@KINDS
def test_a_student_learns_it_beside_a_teacher(kind):
    term = dict(loss=dict(type="AttentionMapLoss"), pairs=[("backbone.up1", "backbone.up1")], weight=0.1)
    model = detector(kind, type="DistilledDetector", terms=[term])
    model.attach_teacher(detector(kind))
    images, samples = images_and_samples(SIZE[2])
    history = train(model, images, samples)
    assert "loss_distill0_attentionmap" in history[0]
    assert mean_error(model, images, samples) < 1.0


def test_maps_are_compared_only_where_codecs_agree():
    images, samples = images_and_samples(SIZE[2])
    term = dict(loss=dict(type="HeatmapMSELoss", reduction="sum"))
    model = detector(WIDTHS, type="DistilledDetector", terms=[term])
    with pytest.raises(ValueError, match=r"cannot be compared: head.codec.activation is .* in the teacher"):
        model.attach_teacher(detector(dict(WIDTHS, codec=dict(WIDTHS["codec"], activation="softmax"))))
    with pytest.raises(ValueError, match="cannot be compared"):
        model.attach_teacher(detector(VOTES))
    model.attach_teacher(detector(WIDTHS))
    assert torch.isfinite(model(images, samples, "loss")["loss_distill0_heatmapmse"])
    votes = detector(VOTES, type="DistilledDetector", terms=[term])
    votes.attach_teacher(detector(VOTES))
    with pytest.raises(ValueError, match="VoteCodec cannot take given maps as a target"):
        votes(images, samples, "loss")


def test_a_target_is_shown_by_its_heatmaps():
    points, ones = torch.tensor([[[9.0, 12.0]]]), torch.ones(1, 1)
    given = (points, ones > 0, ones, (28, 32), (28, 32))
    codec = GaussianHeatmapCodec(2.0)
    assert codec.target_maps(codec.encode(*given)).shape == (1, 1, 28, 32)
    votes = VoteCodec(radius=4.0)
    with pytest.raises(ValueError, match="VoteTarget has no heatmaps to show: give VoteCodec a target_maps"):
        votes.target_maps(votes.encode(*given))


def test_the_base_class_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        BaseCodec()
