"""Branches are trained beside the landmarks and serve nothing else."""

import copy

import pytest
import torch

from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.utils.checkpoint import check_state_dict, training_keys

K = 3
HEAD = dict(
    type="HeatmapHead",
    num_landmarks=K,
    codec=dict(type="GaussianHeatmapCodec", sigma=1.5),
    loss=dict(type="HeatmapMSELoss", reduction="sum"),
)
PLAIN = dict(
    type="LandmarkDetector",
    backbone=dict(type="UNet", widths=(4, 6, 8), bottleneck=dict(type="NonLocalBlock")),
    head=HEAD,
)
BRANCH = dict(
    taps=["backbone.down1", "backbone.down2", "backbone.bottleneck"],
    decoder=dict(type="UNetDecoder", in_channels=[4, 6, 8]),
    head=dict(
        type="HeatmapHead",
        codec=dict(type="HeatmapCodec", shape="disc", sigma=1),
        loss=dict(type="DiceLoss", per_map=False, loss_weight=0.01),
    ),
)
CONFIG = dict(PLAIN, type="MultiTaskDetector", branches=dict(segmentation=BRANCH))


def batch():
    torch.manual_seed(0)
    points = torch.rand(2, K, 2) * 15
    points[0, 0] = float("nan")
    samples = [
        LandmarkDataSample.from_landmarks(p.numpy(), sample_id=str(i), ori_shape=(16, 16))
        for i, p in enumerate(points)
    ]
    return torch.rand(2, 1, 16, 16), samples


def model(config):
    torch.manual_seed(1)
    return MODELS.build(copy.deepcopy(config))


def test_the_loss_is_eq_8():
    detector, (inputs, samples) = model(CONFIG).requires_grad_(False), batch()
    losses = detector.loss(inputs, samples)
    assert sorted(losses) == ["loss_heatmapmse", "segmentation_loss_dice"]
    maps, branch = detector.training_maps(inputs)
    # L_lm: summed over pixels and landmarks, mean over the batch (eq. 4); L_seg: eq. 7 on probabilities.
    expected, dice = 0.0, []
    for b, sample in enumerate(samples):
        overlap = total = 0.0
        for k in range(K):
            if not sample.mask[k]:
                continue
            x, y = sample.gt_landmarks[k].tolist()
            for row in range(16):
                for column in range(16):
                    squared = (row - y) ** 2 + (column - x) ** 2
                    truth = torch.exp(torch.tensor(-squared / (2 * 1.5**2)))
                    expected += float((maps[b, k, row, column] - truth) ** 2) / 2
                    inside, p = float(squared <= 1), float(branch[b, k, row, column].sigmoid())
                    overlap, total = overlap + p * inside, total + p * p + inside
        dice.append(1 - 2 * overlap / total)
    assert float(losses["loss_heatmapmse"]) == pytest.approx(expected, rel=1e-5)
    # An image counts as often as it has annotated landmarks: two, and three.
    wanted = 0.01 * (2 * dice[0] + 3 * dice[1]) / 5
    assert float(losses["segmentation_loss_dice"]) == pytest.approx(wanted, rel=1e-5)


def test_every_parameter_learns():
    detector, (inputs, samples) = model(CONFIG), batch()
    torch.nn.init.ones_(detector.backbone.bottleneck.norm.weight)
    sum(detector.loss(inputs, samples).values()).backward()
    assert not [name for name, p in detector.named_parameters() if p.grad is None or not p.grad.any()]


def test_it_finds_what_the_plain_detector_finds():
    detector, (inputs, _) = model(CONFIG).eval(), batch()
    plain = model(PLAIN).eval()
    used = {k: v for k, v in detector.state_dict().items() if k not in training_keys(detector)}
    check_state_dict(plain, used, "the detector without branches")
    plain.load_state_dict(used)
    ran = []
    detector.branches.segmentation.decoder.register_forward_hook(lambda *_: ran.append(1))
    for ours, theirs in zip(detector.predict(inputs), plain.predict(inputs), strict=True):
        assert torch.equal(ours.pred_landmarks, theirs.pred_landmarks)
    assert not ran, "branches must not run outside of training"


def test_what_only_training_uses_may_be_missing():
    detector = model(CONFIG)
    assert training_keys(detector) == {k for k in detector.state_dict() if k.startswith("branches.")}
    check_state_dict(detector, model(PLAIN).state_dict(), "weights of the plain detector")
    members = MODELS.build(dict(type="MixedEnsemble", detectors=[copy.deepcopy(CONFIG)]))
    assert all(k.startswith("members.0.branches.") for k in training_keys(members))
    assert training_keys(members)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"no module 'backbone.down9'; close to it: backbone.down3"):
        model(dict(CONFIG, branches=dict(discs=dict(BRANCH, taps=["backbone.down9"]))))
    with pytest.raises(ValueError, match="at least one branch"):
        model(dict(CONFIG, branches={}))
    detector = model(dict(CONFIG, branches=dict(discs=dict(BRANCH, taps=["backbone.down1"]))))
    with pytest.raises(ValueError, match="3 levels, the encoder returns 1"):
        detector.loss(*batch())
