"""A small detector and samples for it, shared by tests of detectors and heads."""

import numpy as np
import torch

from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample

CODEC = dict(type="GaussianHeatmapCodec", sigma=1.5)


def detector(count=3, dims=2, **kwargs):
    torch.manual_seed(0)
    head = dict(
        type="HeatmapHead",
        num_landmarks=count,
        dims=dims,
        codec=CODEC,
        loss=[dict(type="EWCLoss"), dict(type="SpatialCrossEntropyLoss", beta=20.0)],
    )
    head.update(kwargs.pop("head", {}))
    backbone = dict(type="UNet", in_channels=1, widths=(4, 6), dims=dims, norm_cfg=dict(type="BN"))
    backbone.update(kwargs.pop("backbone", {}))
    return MODELS.build(dict(type="LandmarkDetector", backbone=backbone, head=head, **kwargs))


def samples(count=3, batch=2, shape=(32, 40), **meta):
    rng = np.random.default_rng(0)
    return [
        LandmarkDataSample.from_landmarks(
            rng.uniform(8, 24, (count, len(shape))), sample_id=f"case{i}", ori_shape=shape, **meta
        )
        for i in range(batch)
    ]


def samples_of_annotators(annotators=2, **kwargs):
    cases = samples(**kwargs)
    for case in cases:
        moves = torch.arange(annotators)[:, None, None] * torch.tensor([2.0, -1.0])
        case.gt_by_annotator = case.gt_landmarks + moves
        case.gt_landmarks = case.gt_by_annotator.mean(0)
    return cases
