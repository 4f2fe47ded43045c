"""The trap of docs/collapsed_channels.md: a channel that settles at zero, and what keeps it from doing so."""

import pytest
import torch
from mmengine.config import Config

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.ops import gaussian_heatmap
from mmlandmark.registry import DATASETS, MODELS
from mmlandmark.testing import phantom_dataloader
from mmlandmark.utils.shipped import config_root

STEPS = 120


def train(loss, activation=None):
    """Train a small U-Net on 8 phantoms; return (K,) mean error in pixels and (K,) mean score."""
    dataset = DATASETS.build(phantom_dataloader(num_samples=8, size=(64, 56), train=False)["dataset"])
    data = [dataset[i] for i in range(8)]
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="LandmarkDetector",
            data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.4, std=0.25),
            backbone=dict(type="UNet", widths=(8, 16, 32, 32), norm_cfg=dict(type="BN"), conv_bias="auto"),
            head=dict(
                type="HeatmapHead",
                num_landmarks=19,
                codec=dict(type="GaussianHeatmapCodec", sigma=1.0, activation=activation),
                loss=loss,
            ),
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    batch = model.data_preprocessor(
        dict(inputs=[d["inputs"] for d in data], data_samples=[d["data_samples"] for d in data])
    )
    model.train()
    for _ in range(STEPS):
        total = sum(model(batch["inputs"], batch["data_samples"], "loss").values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    with torch.no_grad():
        predicted = model(batch["inputs"], batch["data_samples"], "predict")
    errors = torch.stack([(s.pred_landmarks - s.gt_landmarks).norm(dim=-1) for s in predicted])
    return errors.mean(0), torch.stack([s.pred_scores for s in predicted]).mean(0)


@pytest.mark.slow
def test_a_loss_averaged_over_pixels_leaves_channels_behind():
    errors, scores = train(dict(type="EWCLoss"))
    assert int((errors > 10).sum()) >= 3
    assert float(scores.min()) < 0.3


@pytest.mark.slow
def test_the_shipped_head_brings_every_channel_up():
    head = Config.fromfile(str(config_root() / "_base_/models/unet6.py")).model.head
    errors, scores = train(head.loss.to_dict(), head.codec.get("activation"))
    assert float(errors.max()) < 1.0
    assert float(scores.min()) > 0.3


@pytest.mark.slow
def test_cross_entropy_beside_ewc_brings_every_channel_up():
    errors, scores = train([dict(type="EWCLoss"), dict(type="SpatialCrossEntropyLoss", beta=20.0)])
    assert float(errors.max()) < 2.0
    assert float(scores.min()) > 0.3


@pytest.mark.parametrize(
    ("size", "sigma", "expected"),
    [((320, 256), 3.0, 0.0072), ((480, 384), 4.0, 0.0057), ((800, 640), 10.0, 0.0128)],
)
def test_height_at_which_an_uninformed_channel_settles(size, sigma, expected):
    """The constant that minimises EWC is the weighted mean of the target: almost nothing."""
    center = torch.tensor([[[size[1] / 2, size[0] / 2]]], dtype=torch.float64)
    target = gaussian_heatmap(center, size, sigma)[0, 0]
    weight = 40.0**target
    assert float((target * weight).sum() / weight.sum()) == pytest.approx(expected, abs=1e-4)


def test_pull_towards_the_landmark_does_not_depend_on_the_size_of_the_map():
    """From a flat map, cross-entropy pulls with weight 1 in all; EWC with about alpha / pixels."""
    pulls = {}
    for side in (64, 256):
        ones = torch.ones(1, 1)
        target = HeatmapTarget(torch.full((1, 1, 2), side / 2), ones > 0, ones, (side, side), sigma=2.0)
        for kind in ("EWCLoss", "SpatialCrossEntropyLoss"):
            flat = torch.zeros(1, 1, side, side, requires_grad=True)
            MODELS.build(dict(type=kind))(flat, target).backward()
            pulls[kind, side] = float(-flat.grad.clamp(max=0).sum())
    assert pulls["SpatialCrossEntropyLoss", 64] == pytest.approx(1, abs=0.05)
    assert pulls["SpatialCrossEntropyLoss", 256] == pytest.approx(1, abs=0.05)
    assert pulls["EWCLoss", 64] / pulls["EWCLoss", 256] == pytest.approx(16, rel=0.01)
