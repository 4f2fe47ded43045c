"""U-Net: published sizes, shapes, and both dimensions."""

import pytest
import torch

from mmlandmark.models.backbones import UNet
from mmlandmark.registry import MODELS


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("widths", "landmarks", "expected"),
    [
        ((32, 64, 128, 256), 37, 1_948_069),
        ((32, 64, 128, 256), 19, 1_947_475),
        ((32, 64, 128, 256), 5, 1_947_013),
        ((64, 128, 256, 512, 1024), 37, 31_381_285),
        ((64, 128, 256, 512, 1024), 19, 31_380_115),
        ((64, 128, 256, 512, 1024), 5, 31_379_205),
    ],
)
def test_parameters_of_unet4_and_unet5(widths, landmarks, expected):
    backbone = UNet(in_channels=3, widths=widths)
    head = MODELS.build(
        dict(
            type="HeatmapHead",
            in_channels=backbone.out_channels,
            num_landmarks=landmarks,
            codec=dict(type="GaussianHeatmapCodec", sigma=1.5),
            loss=dict(type="HeatmapMSELoss"),
        )
    )
    assert count(backbone) + count(head) == expected


def test_parameters_of_the_unet_of_the_spatial_configuration_loss():
    backbone = UNet(in_channels=1, widths=(64, 128, 256, 512, 1024), act_cfg=dict(type="ReLU"))
    assert count(backbone) + 64 * 37 + 37 == 31_380_133


def test_multiply_adds_of_unet4():
    # 19.9375 * 2^30 multiply-adds at 3 x 512 x 256 and 37 landmarks; here at a quarter of the sides.
    backbone = UNet(in_channels=3, widths=(32, 64, 128, 256))
    total = []
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda m, _, out: total.append(m.weight.numel() * out.shape[2] * out.shape[3])
            )
    backbone(torch.zeros(1, 3, 128, 64))
    head = 32 * 37 * 512 * 256
    assert sum(total) * 16 + head == 19.9375 * 2**30


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", [None, dict(type="BN"), dict(type="IN"), dict(type="GN", num_groups=2)])
@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
def test_shapes(dims, norm, upsample):
    model = UNet(2, (4, 6, 8), dims=dims, norm_cfg=norm, upsample=upsample, out_indices=(0, 1, 2))
    image = torch.rand(2, 2, *(17, 12, 14)[-dims:])  # sides need not be powers of two
    features = model(image)
    assert model.out_channels == [4, 6, 8]
    for level, f in enumerate(features):
        assert f.shape == (2, model.out_channels[level], *[s // 2**level for s in image.shape[2:]])


def test_a_stem_halves_the_levels():
    model = UNet(1, (4, 8), norm_cfg=None, stem_stride=2)
    assert model.down1[0].conv.in_channels == 4
    (output,) = model(torch.rand(1, 1, 32, 24))
    assert output.shape == (1, 4, 16, 12)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least two widths"):
        UNet(widths=(8,))
    with pytest.raises(ValueError, match="out_indices"):
        UNet(widths=(8, 16), out_indices=(2,))
    with pytest.raises(ValueError, match="every side needs 4 pixels"):
        UNet(1, (4, 6, 8))(torch.rand(1, 1, 16, 3))
