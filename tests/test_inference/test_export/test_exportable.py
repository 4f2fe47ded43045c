"""A detector as a function of images alone says what the detector says."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.inference.export import ExportableDetector, ExportError, traced
from mmlandmark.inference.export.exportable import network_channels, with_half_weights
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from test_inference.test_export.export_cases import PREPROCESSOR, UNET, config_of

COUNT = 4
PAIRS = ((0, 1), (2, 3))


def built(config):
    torch.manual_seed(0)
    return MODELS.build(config).eval()


def predicted(detector, images):
    """Return points, scores and spread by the way of the test, (B, K, ...)."""
    samples = [
        LandmarkDataSample(
            metainfo=dict(sample_id=str(i), ori_shape=tuple(images.shape[2:]), flip_pairs=PAIRS)
        )
        for i in range(len(images))
    ]
    detector.test_cfg["spread"] = True
    with torch.inference_mode():
        done = detector.test_step(dict(inputs=list(images), data_samples=samples))
    keys = [f"pred_{name}" for name in ("landmarks", "scores", "spread", "presence")]
    return [torch.stack([s.get(key) for s in done]) for key in keys if key in done[0]]


def head(dims=2, **changes):
    codec = dict(type="GaussianHeatmapCodec", sigma=2.0, decoder="local_centroid")
    loss = dict(type="HeatmapMSELoss")
    return dict(dict(type="HeatmapHead", num_landmarks=COUNT, codec=codec, loss=loss), **changes)


NARROW_FARNET = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3, size_divisor=32),
    backbone=dict(type="DenseNet", growth_rate=4, block_layers=(1, 1, 1, 1), stem_channels=8),
    neck=dict(type="MSFA", channels=8),
    head=head(
        type="FeatureRefinementHead", codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax")
    ),
)
VOTING = head(
    type="ChannelAttentionHead",
    attention_size=(4, 3),
    upsample_to=1,
    codec=dict(type="VotingCodec", radius=4),
    loss=[dict(type="HeatmapBCELoss"), dict(type="OffsetL1Loss")],
)
ANNOTATORS = config_of(count=COUNT, head=head(num_annotators=2), test_cfg=dict(flip=True))
CASES = {
    "annotators and flip": (ANNOTATORS, (1, 33, 40)),
    "views": (
        config_of(count=COUNT, head=head(), test_cfg=dict(views=[dict(), dict(rotation=5, scale=1.1)])),
        (1, 32, 40),
    ),
    "feature refinement": (NARROW_FARNET, (1, 48, 70)),
    "regression voting": (config_of(count=COUNT, head=VOTING), (1, 32, 40)),
    "3D": (
        dict(
            type="LandmarkDetector",
            dims=3,
            data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1),
            backbone=dict(UNET, widths=(4, 8)),
            head=head(),
        ),
        (1, 16, 20, 24),
    ),
    "mixed ensemble": (
        dict(
            type="MixedEnsemble",
            detectors=[
                config_of(count=COUNT, head=head()),
                config_of(
                    count=COUNT,
                    head=head(num_annotators=2),
                    data_preprocessor=dict(PREPROCESSOR, mean=0.1, size_divisor=8),
                ),
            ],
        ),
        (1, 36, 40),
    ),
    "presence": (config_of(count=COUNT, head=head(presence=dict())), (1, 32, 40)),
    "median of three": (
        dict(type="MixedEnsemble", average="median", detectors=[config_of(count=COUNT, head=head())] * 3),
        (1, 32, 40),
    ),
    "mean of maps": (
        dict(type="MixedEnsemble", average="heatmaps", detectors=[config_of(count=COUNT, head=head())] * 2),
        (1, 32, 40),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_program_says_what_the_detector_predicts(name):
    config, shape = CASES[name]
    detector = built(config)
    program = traced(ExportableDetector(detector, PAIRS).eval(), shape)
    assert program.outputs == ("points", "scores", "spread", *["presence"] * (name == "presence"))
    run = program.program.module()
    for count in (1, 3):
        images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(count))
        answer = run(images)
        for value, expected in zip(answer.values(), predicted(detector, images), strict=True):
            torch.testing.assert_close(value, expected.float(), atol=2e-4, rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["quadratic", "dark", "soft_argmax"])
def test_every_decoder_is_inside(decoder):
    detector = built(config_of(decoder, count=COUNT))
    program = traced(ExportableDetector(detector).eval(), (1, 32, 40)).program.module()
    images = torch.rand(2, 1, 32, 40)
    # A fit to noise is ill-conditioned: single points may move.
    distances = (program(images)["points"] - predicted(detector, images)[0]).norm(dim=-1)
    assert distances.median() < 1e-3


def test_half_weights_are_half_as_large_and_leave_the_detector_alone():
    detector = built(config_of(count=COUNT))
    plain = ExportableDetector(detector).eval()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    half = with_half_weights(plain)
    kernels = [p for p in half.parameters() if p.ndim > 1]
    assert kernels
    assert all(p.dtype == torch.float16 for p in kernels)
    images = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        one, other = plain(images)["scores"], half(images)["scores"]
    assert one.dtype == other.dtype == torch.float32
    assert 0 < (one - other).abs().max() < 0.05 * one.abs().max()
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


def test_what_cannot_be_exported_is_named():
    detector = built(config_of(count=COUNT, test_cfg=dict(flip=True)))
    with pytest.raises(ExportError, match=r"HeatmapHead / GaussianHeatmapCodec .* 1 x 32 x 40: .*flip_pairs"):
        traced(ExportableDetector(detector).eval(), (1, 32, 40))


def test_volumes_are_not_turned_without_the_size_of_a_voxel():
    views = [dict(scale=1.1), dict(rotation=[0, 0, 5])]
    detector = built(config_of(count=COUNT, dims=3, test_cfg=dict(views=views)))
    with pytest.raises(ExportError, match=r"turned in mm.* leave the views with a rotation out"):
        ExportableDetector(detector)
    detector.test_cfg["views"] = views[:1]
    ExportableDetector(detector)


@pytest.mark.parametrize(
    ("config", "channels"), [(CASES["mixed ensemble"][0], 1), (NARROW_FARNET, 3), (ANNOTATORS, 1)]
)
def test_channels_are_those_of_the_network(config, channels):
    assert network_channels(built(config)) == channels


def test_weights_take_no_gradient():
    program = traced(ExportableDetector(built(config_of(count=COUNT))).eval(), (1, 32, 40)).program
    assert not any(value.requires_grad for value in program.state_dict.values())


def test_a_decoder_that_looks_at_values_is_named():
    detector = built(config_of("blob_centroid", count=COUNT))
    with pytest.raises(
        ExportError, match="BlobCentroidDecoder cannot be exported with images of 1 x 32 x 40"
    ):
        traced(ExportableDetector(detector).eval(), (1, 32, 40))
