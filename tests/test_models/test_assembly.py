"""How parts are put together: channels and dimensions are handed on."""

import pytest
import torch
from torch import nn

from mmlandmark.models.assembly import build_part, filled, takes
from mmlandmark.models.backbones import DenseNet, UNet
from mmlandmark.models.losses import HeatmapMSELoss
from mmlandmark.models.necks import UNetDecoder
from mmlandmark.registry import MODELS

CODEC = dict(type="GaussianHeatmapCodec", sigma=1.5)
HEAD = dict(type="HeatmapHead", num_landmarks=2, codec=CODEC, loss=dict(type="EWCLoss"))
UNET = dict(type="UNet", widths=(4, 6))


def test_what_a_class_takes():
    assert takes(UNet, "dims")
    assert takes(UNetDecoder, "upsample")  # of the class above it
    assert takes(DenseNet, "frozen_stages")
    assert not takes(DenseNet, "dims")
    assert not takes(nn.Identity, "dims")
    assert not takes(len, "dims")


def test_a_config_is_filled_only_where_it_says_nothing():
    assert filled(MODELS, UNET, dims=3, in_channels=None) == dict(UNET, dims=3)
    assert filled(MODELS, dict(UNET, dims=2), dims=3) == dict(UNET, dims=2)
    assert filled(MODELS, dict(type="VGG"), dims=3) == dict(type="VGG")
    assert filled(MODELS, dict(type=UNet), dims=3)["dims"] == 3


@pytest.mark.parametrize(
    "model",
    [
        dict(type="LandmarkDetector", backbone=UNET, head=HEAD),
        dict(
            type="LandmarkDetector",
            backbone=dict(UNET, out_indices=(0, 1)),
            neck=dict(type="UNetDecoder"),
            head=HEAD,
        ),
        dict(type="EnsembleDetector", members=2, backbone=UNET, head=HEAD),
        dict(type="MixedEnsemble", detectors=[dict(type="LandmarkDetector", backbone=UNET, head=HEAD)]),
        dict(
            type="MultiTaskDetector",
            backbone=UNET,
            head=HEAD,
            branches=dict(
                discs=dict(
                    taps=["backbone.down1", "backbone.down2"],
                    decoder=dict(type="UNetDecoder", in_channels=[4, 6]),
                    head=HEAD,
                )
            ),
        ),
    ],
    ids=["plain", "neck", "ensemble", "mixed", "multi-task"],
)
def test_one_argument_makes_a_model_of_volumes(model):
    assert takes(MODELS.get(model["type"]), "dims")
    built = MODELS.build(dict(model, dims=3))
    maps = built.training_maps(torch.rand(1, 1, 8, 12, 16))
    assert {m.shape for m in maps} == {(1, 2, 8, 12, 16)}
    assert {m.weight.ndim for m in built.modules() if hasattr(m, "kernel_size") and hasattr(m, "weight")} == {
        5
    }
    planar = MODELS.build(model)  # without, the parts decide
    assert planar(torch.rand(1, 1, 8, 12)).shape == (1, 2, 8, 12)


def test_terms_of_a_student_are_of_its_dimensions():
    term = dict(
        loss=dict(type="FeatureMSELoss", student_channels=4, teacher_channels=6),
        pairs=[("backbone.up1", "backbone.up1")],
    )
    student = MODELS.build(dict(type="DistilledDetector", dims=3, backbone=UNET, head=HEAD, terms=[term]))
    assert student.terms[0].loss.connector.weight.ndim == 5


class LossOfDims(HeatmapMSELoss):
    """A loss that needs to know the dimensions."""

    def __init__(self, dims=2):
        super().__init__()
        self.dims = dims


def test_losses_of_a_head_are_of_its_dimensions():
    losses = [dict(type="EWCLoss"), dict(type=LossOfDims)]
    model = MODELS.build(dict(type="LandmarkDetector", dims=3, backbone=UNET, head=dict(HEAD, loss=losses)))
    assert model.head.losses["lossofdims"].dims == 3


class FlatBackbone(nn.Identity):
    """A backbone of another package, for images only."""

    dims = 2
    out_channels = (1,)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            dict(backbone=dict(type="ResNet", depth=18)),
            "ResNet is for 2D images, the .* dims is 3: use AdditiveUNet or ConvStack or Hourglass or UNet$",
        ),
        (
            dict(backbone=dict(UNET, widths=(2, 4, 6, 8), out_indices=(0, 1, 2, 3)), neck=dict(type="MSFA")),
            r"MSFA is for 2D images, the model's dims is 3: use .*FPN or .*PyramidFusion or UNetDecoder$",
        ),
        (
            dict(head=dict(HEAD, type="FeatureRefinementHead")),
            "FeatureRefinementHead .*: use ChannelAttentionHead or HeatmapHead or .*or TemplateHead$",
        ),
        (
            dict(backbone=dict(type=FlatBackbone)),
            r"FlatBackbone is for 2D images, the model's dims is 3: choose a part that takes dims$",
        ),
        (
            dict(backbone=dict(UNET, dims=2)),
            "UNet is for 2D images, the model's dims is 3: leave its dims out",
        ),
    ],
)
def test_a_part_without_a_third_dimension_is_named(parts, message):
    model = dict(type="LandmarkDetector", dims=3, backbone=UNET, head=HEAD)
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(model, **parts))


def test_images_of_other_dimensions_are_refused():
    model = MODELS.build(dict(type="LandmarkDetector", backbone=UNET, head=HEAD))
    with pytest.raises(ValueError, match=r"is for 2D images, got .* \(1, 1, 8, 8, 8\): set model.dims=3"):
        model(torch.rand(1, 1, 8, 8, 8))


def test_a_part_without_channels_is_named():
    with pytest.raises(ValueError, match="Identity does not say its out_channels: give in_channels of FPN"):
        build_part(dict(type="FPN"), behind=nn.Identity())
