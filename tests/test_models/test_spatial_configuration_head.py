"""The SpatialConfiguration-Net: published sizes, the product of its parts, and both dimensions."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmlandmark.models.heads import SpatialConfigurationHead
from mmlandmark.models.heads.spatial_configuration_head import cubic_matrix
from mmlandmark.registry import MODELS
from mmlandmark.utils.shipped import config_root
from test_codecs.downstream_codecs import images_and_samples


def head(width=5, landmarks=3, **kwargs):
    codec = dict(type="LearnedSigmaCodec")
    loss = dict(type="HeatmapMSELoss")
    return SpatialConfigurationHead([width], landmarks, codec, loss, **kwargs)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def shipped(name, landmarks, dims):
    """Return the detector of a base config, without memory."""
    model = Config.fromfile(f"{config_root()}/_base_/models/{name}.py").model
    model.head.num_landmarks = landmarks
    with torch.device("meta"):
        return MODELS.build(dict(model, dims=dims))


def test_parameters_of_the_published_network():
    of_19, of_37 = (shipped("scn", k, 2) for k in (19, 37))
    assert count(of_19.backbone) == 1_772_288
    assert count(of_19) == 6_348_070 + 19  # a width for every landmark
    # A kernel to the local map, two of the spatial branch, two biases, a width.
    assert count(of_37) - count(of_19) == 18 * (9 * 128 + 2 * 121 * 128 + 2 + 1)
    assert of_19(torch.empty(1, 1, 64, 80, device="meta")).shape == (1, 19, 64, 80)


def test_parameters_in_volumes():
    model = shipped("scn_volumes", 26, 3)
    conv, wide = 27 * 64, 343 * 64
    assert count(model.backbone) == 27 * 64 + 64 + 12 * (conv * 64 + 64)
    spatial = (26 * wide + 64) + 2 * (64 * wide + 64) + 26 * (wide + 1)
    assert count(model.head) == 26 * (conv + 1) + spatial + 26
    assert model(torch.empty(1, 1, 192, 96, 96, device="meta")).shape == (1, 26, 192, 96, 96)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_maps_are_the_product_of_their_parts_at_any_size(dims, padding):
    torch.manual_seed(0)
    model = head(
        dims=dims, channels=4 + dims, spatial_kernel=3, downsample=4, padding_mode=padding, init_std=0.3
    )
    features = torch.rand(2, 5, *(13, 16, 10)[-dims:])  # no multiples of the blocks
    (maps,) = model([features])
    local = model.local(features)
    spatial = model.spatial(local)
    assert maps.shape == spatial.shape == (2, 3, *features.shape[2:])
    torch.testing.assert_close(maps, local * spatial)
    assert spatial.std() > 0.01


def test_the_spatial_branch_sees_all_landmarks_from_afar():
    torch.manual_seed(0)
    branch = head(spatial_kernel=5, downsample=4, init_std=0.3).spatial
    local = torch.zeros(1, 3, 64, 64, requires_grad=True)
    (slope,) = torch.autograd.grad(branch(local)[0, 0, 32, 32], local)
    assert slope[0, 1].any()
    assert slope[0, 2, 8].any()  # 24 pixels away


@pytest.mark.parametrize("side", [2, 5, 12])
def test_interpolation_is_that_of_pytorch(side):
    maps = torch.rand(1, 2, side, side + 1)
    rows, columns = cubic_matrix(side, 4, maps), cubic_matrix(side + 1, 4, maps)
    ours = torch.einsum("ai,bj,ncij->ncab", rows, columns, maps)
    theirs = F.interpolate(maps, scale_factor=4, mode="bicubic", align_corners=False)
    torch.testing.assert_close(ours, theirs)


def test_the_start():
    torch.manual_seed(0)
    model = head(32, 19)
    for layer in (model.local[0], model.spatial.convs[-2][0]):
        assert float(layer.weight.detach().abs().max()) <= 2e-4
        assert float(layer.weight.detach().std()) == pytest.approx(0.88e-4, rel=0.05)  # cut off at two
        assert not layer.bias.any()
    wide = model.spatial.convs[1][0].weight.detach()
    assert float(wide.std()) == pytest.approx((2 / wide[0].numel()) ** 0.5, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
def test_it_learns(dims):
    torch.manual_seed(0)
    size = {2: (32, 32), 3: (16, 16, 20)}[dims]
    images, samples = images_and_samples(size, batch=2)
    codec = dict(type="LearnedSigmaCodec", sigma=1.5, scale=20.0 if dims == 2 else 80.0, regularizer=0.1)
    parts = dict(
        backbone=dict(type="AdditiveUNet", width=12, levels=3, dropout=0.0, padding_mode="reflect"),
        head=dict(
            type="SpatialConfigurationHead",
            num_landmarks=2,
            channels=8,
            spatial_convs=2,
            spatial_kernel=3,
            downsample=4,
            padding_mode="reflect",
            init_std=1e-3,
            codec=codec,
            loss=dict(type="HeatmapMSELoss", reduction="sum", loss_weight=0.5),
        ),
    )
    model = MODELS.build(dict(type="LandmarkDetector", dims=dims, **parts))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(60):
        losses = model(images, samples, "loss")
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert set(losses) == {"loss_heatmapmse", "loss_codec_sigma"}
    with torch.no_grad():
        predicted = model.eval()(images, samples, "predict")
    errors = torch.stack([(s.pred_landmarks - s.gt_landmarks).norm(dim=-1) for s in predicted])
    assert float(errors.max()) < 0.5
    assert all((s.pred_scores > 0.5).all() for s in predicted)
    assert (model.head.codec.sigma != 1.5).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"works on one level, got in_channels \[4, 8\]"):
        SpatialConfigurationHead([4, 8], 3, dict(type="LearnedSigmaCodec"), dict(type="HeatmapMSELoss"))
    with pytest.raises(ValueError, match="must be odd, got 3, 4"):
        head(spatial_kernel=4)
    with pytest.raises(ValueError, match="downsample must be a number from 1 on, or 2 of them"):
        head(downsample=(8, 8, 8))
    small = head(dims=3, spatial_kernel=7, downsample=8, padding_mode="reflect")
    with pytest.raises(
        ValueError, match=r"\(16, 32, 32\) is too small .* its sides need \(25, 25, 25\) pixels"
    ):
        small([torch.rand(1, 5, 16, 32, 32)])
