"""Each network of shape-regulated self-training trains a step and tests, in a run on tiny phantoms."""

import math

import pytest

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.data_dims import with_data_dims
from mmlandmark.testing import phantom_dataloader, tiny_config

INTEGRAL = dict(
    codec=dict(type="GaussianHeatmapCodec", sigma=2, activation="sigmoid", decoder="integral"),
    loss=dict(type="RegionAttentionLoss"),
)
VOTES = dict(
    codec=dict(type="VotingCodec", radius=4),
    loss=[dict(type="HeatmapBCELoss", loss_weight=2), dict(type="OffsetL1Loss")],
)
PLAIN = dict(type="HeatmapHead", bias_init=-8, **INTEGRAL)
CONFIGURATION = dict(
    type="SpatialConfigurationHead",
    spatial_kernel=3,
    downsample=4,
    channels=4,
    codec=dict(type="LearnedSigmaCodec", scale=10),
    loss=dict(type="HeatmapMSELoss", reduction="sum"),
)
VGG = dict(type="VGG", in_channels=1, widths=(4, 4, 8, 8, 8), pooled=True, out_indices=(1, 2, 3, 4))
NETWORKS = {
    "unet": (2, dict(backbone=dict(type="UNet", widths=(4, 8)), head=PLAIN)),
    "modified unet": (2, dict(backbone=dict(type="UNet", widths=(4, 8), dilated=True), head=PLAIN)),
    "hourglass": (
        2,
        dict(backbone=dict(type="Hourglass", width=8, depth=2), head=dict(PLAIN, upsample_to=4)),
    ),
    "afpf-rv": (
        2,
        dict(
            backbone=VGG,
            neck=dict(type="PyramidFusion", channels=4),
            head=dict(type="ChannelAttentionHead", **VOTES),
        ),
    ),
    "scn": (2, dict(backbone=dict(type="AdditiveUNet", width=4, levels=2), head=CONFIGURATION)),
    "scn of hands": (
        2,
        dict(backbone=dict(type="ConvStack", widths=(4,)), head=dict(CONFIGURATION, pairwise=True)),
    ),
    "3d unet": (3, dict(backbone=dict(type="UNet", widths=(4, 8)), head=PLAIN)),
    "3d scn": (
        3,
        dict(
            backbone=dict(type="AdditiveUNet", width=4, levels=2),
            head=dict(CONFIGURATION, loss=dict(type="RegionAttentionLoss")),
        ),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_trains_a_step_and_tests(name, tmp_path):
    dims, parts = NETWORKS[name]
    count, size = {2: (19, (64, 64)), 3: (26, (16, 20, 18))}[dims]

    def loader(**kwargs):
        return phantom_dataloader(count, num_samples=2, size=size, **kwargs)

    config = tiny_config(
        tmp_path,
        max_epochs=1,
        train_dataloader=loader(),
        test_dataloader=loader(train=False),
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
    )
    for key in ("backbone", "neck", "head"):
        if key in parts:
            config.model[key] = dict(parts[key])
    config.model.head.num_landmarks = count
    config.model = with_data_dims(config.model, [config.test_dataloader])
    runner = LandmarkRunner.from_cfg(config)
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    moved = [name for name, value in runner.model.named_parameters() if (value != before[name]).any()]
    assert any(name.startswith("backbone.") for name in moved)
    assert any(name.startswith("head.") for name in moved)
    assert math.isfinite(runner.test()["mre"])
