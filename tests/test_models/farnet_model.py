"""A narrow FARNet and samples for it, shared by tests of its parts."""

from __future__ import annotations

import torch

from mmlandmark.structures import LandmarkDataSample

HEAD = dict(
    type="FeatureRefinementHead",
    num_landmarks=19,
    codec=dict(type="GaussianHeatmapCodec", sigma=10, decoder="argmax"),
    loss=dict(type="EWCLoss"),
)


FARNET = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3),
    backbone=dict(type="DenseNet", depth=121),
    neck=dict(type="MSFA"),
    head=HEAD,
)


NARROW = dict(
    FARNET,
    backbone=dict(type="DenseNet", growth_rate=4, block_layers=(2, 2, 2, 2), stem_channels=8),
    neck=dict(type="MSFA", channels=16),
    head=dict(HEAD, num_landmarks=3, codec=dict(type="GaussianHeatmapCodec", sigma=2)),
)


def samples(count: int = 2, landmarks: int = 3, size: tuple[int, int] = (64, 96)) -> list[LandmarkDataSample]:
    torch.manual_seed(1)
    points = torch.rand(count, landmarks, 2) * torch.tensor(size[::-1])
    return [
        LandmarkDataSample.from_landmarks(p.numpy(), sample_id=str(i), ori_shape=size)
        for i, p in enumerate(points)
    ]
