"""U-Net: published sizes, shapes, and both dimensions."""

from itertools import pairwise

import pytest
import torch
from torch.nn.modules.conv import _ConvNd

from mmlandmark.engine import load_config
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


def test_parameters_of_the_networks_of_self_training():
    """By hand: weights and a bias of every convolution, and two parameters per channel of every norm."""

    def conv(channels, channels_out, kernel):
        return kernel * channels * channels_out + channels_out + 2 * channels_out

    def unet(widths, kernel, into, up):
        levels, channels = list(pairwise(widths)), (1, *widths)
        down = sum(conv(a, b, kernel) + conv(b, b, kernel) for a, b in zip(channels, widths, strict=False))
        return down + sum(up(a, b) + conv(into(a, b), a, kernel) + conv(a, a, kernel) for a, b in levels)

    heads = load_config("mmlandmark::self_training/unet_head-cbct_96x128x128.py").model
    films = load_config("mmlandmark::self_training/unet_isbi2015_800x640.py").model
    with torch.device("meta"):
        in_volumes, in_films = MODELS.build(dict(heads, dims=3)), MODELS.build(films)
    # Transposed convolutions of two voxels along every axis; bilinear enlargement has no parameters.
    strided = unet((32, 64, 128, 256, 320), 27, lambda a, b: 2 * a, lambda a, b: 8 * a * b + a)
    pooled = unet((64, 128, 256, 512, 1024), 9, lambda a, b: a + b, lambda a, b: 0)
    assert count(in_volumes.backbone) == strided == 16_546_624
    assert count(in_volumes) == strided + 33 * 33 == 16_547_713
    assert count(in_films) == pooled + 19 * 65 == 31_390_739


NNUNET = dict(
    widths=(32, 64, 128, 256, 320, 320),
    dims=3,
    downsample="conv",
    upsample="transposed",
    norm_cfg=dict(type="IN", affine=True),
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Counted with nnU-Net's package, dynamic_network_architectures 0.4.4, without the 1x1 layers.
        (NNUNET, 31_193_984),
        (dict(NNUNET, residual_blocks=(1, 3, 4, 6, 6, 6), num_convs=1), 102_348_160),
        # By hand: levels of 27 and 9 weights per pair of channels, biases, no parameters of norms.
        (
            dict(widths=(4, 8), dims=3, kernel_sizes=((1, 3, 3), 3), strides=(1, (1, 2, 2))),
            (9 * 4 + 4) + (9 * 16 + 4) + (27 * 32 + 8) + (27 * 64 + 8) + (9 * 12 * 4 + 4) + (9 * 16 + 4),
        ),
        (
            dict(widths=(4, 8), dims=2, residual_blocks=(1, 2), num_convs=1, norm_cfg=None),
            (9 * 4 + 4) + 2 * (9 * 16 + 4) + (9 * 32 + 8) + 3 * (9 * 64 + 8) + 32 + (9 * 12 * 4 + 4),
        ),
    ],
    ids=["nnunet", "nnunet-residual", "thick slices", "residual-2d"],
)
def test_parameters_in_volumes_and_with_residual_blocks(options, expected):
    with torch.device("meta"):
        assert count(UNet(1, **options)) == expected


@pytest.mark.parametrize("downsample", ["max_pool", "avg_pool", "conv"])
@pytest.mark.parametrize("upsample", ["bilinear", "nearest", "transposed"])
@pytest.mark.parametrize("residual", [None, 1])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_axis_has_its_own_kernel_and_stride(downsample, upsample, residual, dims):
    torch.manual_seed(0)
    model = UNet(
        1,
        (4, 6, 8),
        dims,
        downsample=downsample,
        upsample=upsample,
        residual_blocks=residual,
        kernel_sizes=[(1, 3, 3)[-dims:], (3, 1, 5)[-dims:], 3],
        strides=[1, (1, 2, 2)[-dims:], (2, 2, 1)[-dims:]],
        norm_cfg=dict(type="GN", num_groups=2),
        out_indices=(0, 1, 2),
    )
    image = torch.rand(1, 1, *(5, 9, 8)[-dims:])  # sides need not be multiples of the strides
    up = downsample == "conv"  # a strided convolution rounds up, pooling rounds down
    sizes = [(5, 9, 8), (5, 4 + up, 4), (2 + up, 2 + up, 4)]
    levels = model(image)
    assert [tuple(level.shape[2:]) for level in levels] == [size[-dims:] for size in sizes]
    sum(level.square().mean() for level in levels).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    kernels = {tuple(m.weight.shape[2:]) for m in model.down2.modules() if isinstance(m, _ConvNd)}
    assert (3, 1, 5)[-dims:] in kernels


def test_a_transposed_convolution_fits_its_skip_connection():
    model = UNet(1, (2, 3), upsample="transposed", norm_cfg=None, act_cfg=None, num_convs=1)
    seen = []
    model.upsample1.register_forward_hook(lambda m, i, out: seen.append(out))
    model(torch.rand(1, 1, 5, 7))
    (up,) = seen
    assert up.shape == (1, 2, 5, 7)
    assert torch.equal(up[:, :, 4], up[:, :, 3])  # the row that pooling left out repeats the last


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


def test_instance_norm_of_one_pixel_is_refused_with_the_size_it_needs():
    model = UNet(1, (4, 6, 8), dims=3, norm_cfg=dict(type="IN"))
    with pytest.raises(ValueError, match=r"\(4, 4, 4\) is too small .*instance norm.* twice as many pixels"):
        model(torch.zeros(1, 1, 4, 4, 4))
    assert model(torch.zeros(1, 1, 4, 8, 4))[0].shape == (1, 4, 4, 8, 4)


def test_a_stem_halves_the_levels():
    model = UNet(1, (4, 8), norm_cfg=None, stem_stride=2)
    assert model.down1[0].conv.in_channels == 4
    (output,) = model(torch.rand(1, 1, 32, 24))
    assert output.shape == (1, 4, 16, 12)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least two widths"):
        UNet(widths=(8,))
    for wrong, message in (
        (dict(downsample="pool"), "downsample must be one of"),
        (dict(upsample="linear"), "upsample must be one of"),
        (dict(kernel_sizes=[3]), "kernel_sizes needs one entry for each of the 4 levels, got"),
        (dict(kernel_sizes=4), "kernel_sizes must be odd"),
        (dict(kernel_sizes=[(1, 3, 3)] * 4), "kernel_sizes must be a number from 1 on, or 2 of them"),
        (dict(strides=[2, 2, 2, 2]), "from the image to level 0 and must be 1, got 2"),
        (dict(strides=[1, 0, 2, 2]), "an entry of strides must be"),
        (dict(num_convs=(1, 2)), "num_convs needs one entry"),
        (dict(residual_blocks=(1, 2)), "residual_blocks needs one entry"),
    ):
        with pytest.raises(ValueError, match=message):
            UNet(**wrong)
    with pytest.raises(ValueError, match="out_indices"):
        UNet(widths=(8, 16), out_indices=(2,))
    with pytest.raises(ValueError, match=r"its sides need \(4, 4\) pixels"):
        UNet(1, (4, 6, 8))(torch.rand(1, 1, 16, 3))
