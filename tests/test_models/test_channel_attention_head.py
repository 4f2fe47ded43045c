"""AFPF-RV: the published count, the attentive prediction step by step, any size and batch."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmlandmark.models.heads import ChannelAttentionHead
from mmlandmark.registry import MODELS
from mmlandmark.utils.shipped import config_root
from test_codecs.downstream_codecs import images_and_samples

VOTES = dict(
    codec=dict(type="VotingCodec", radius=3.0, window=2),
    loss=[dict(type="HeatmapBCELoss", loss_weight=2), dict(type="OffsetL1Loss")],
)


def head(channels=8, landmarks=2, **kwargs):
    torch.manual_seed(0)
    return ChannelAttentionHead([channels], landmarks, **VOTES, **kwargs)


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_parameters_of_the_published_network():
    config = Config.fromfile(f"{config_root()}/_base_/models/afpf_rv.py").model
    config.head.num_landmarks = 19
    with torch.device("meta"):
        model = MODELS.build(config)
        maps = model(torch.empty(1, 3, 800, 640))
    assert count(model.backbone) == 20_035_392
    assert count(model) == 20_671_739
    assert model.backbone.strides == [4, 8, 16, 32]
    assert maps.shape == (1, 57, 800, 640)


def slow_maps(one, features):
    """Return the maps of one image, map by map, as published: 8 x 8 blocks, softmax over the channels."""
    (channels, *_), result = features.shape, []
    cells = F.avg_pool2d(features[None], 8)[0].flatten(1)  # (C, cells)
    cells = cells @ one.shrink.weight.T
    cells = (cells - cells.mean()) / (cells.var(unbiased=False) + 1e-5).sqrt()
    cells = (cells * one.norm.weight + one.norm.bias).tanh()
    for number in range(one.num_maps):
        attention = (cells @ one.weigh.weight[number]).softmax(0) * channels
        weighted = features * attention[:, None, None]
        layer = one.conv.weight[number : number + 1]
        made = F.conv2d(weighted[None], layer, one.conv.bias[number : number + 1])
        result.append(F.interpolate(made, scale_factor=4, mode="bilinear", align_corners=False)[0, 0])
    return torch.stack(result)


def test_it_equals_the_published_steps_for_every_image_of_a_batch():
    one = head(attention_size=(3, 2), hidden=5)
    with torch.no_grad():
        one.norm.weight.fill_(1.3)
        one.norm.bias.fill_(-0.2)
    features = torch.randn(3, 8, 24, 16)
    (maps,) = one([features])
    assert maps.shape == (3, 6, 96, 64)
    for i in range(3):
        torch.testing.assert_close(maps[i], slow_maps(one, features[i]))
    torch.testing.assert_close(one.attention(features).mean(-1), torch.ones(3, 6))


@pytest.mark.parametrize("size", [(7, 9), (30, 22)])
def test_any_size(size):
    assert head(upsample_to=2)([torch.randn(2, 8, *size)])[0].shape == (2, 6, *(2 * side for side in size))


def test_it_works_in_volumes_and_behind_any_loss_of_heatmaps():
    one = head(dims=3, bias_init=-8.0, upsample_to=1)
    assert one.attention_size == (8, 8, 8)
    assert (one.conv.bias == -8).all()
    assert one([torch.randn(2, 8, 6, 7, 8)])[0].shape == (2, 8, 6, 7, 8)
    with pytest.raises(ValueError, match=r"works on one level, got in_channels \[4, 8\]"):
        ChannelAttentionHead([4, 8], 2, **VOTES)


def small(**head_options):
    torch.manual_seed(0)
    backbone = dict(type="VGG", in_channels=1, widths=(4, 8, 8, 8, 8), pooled=True, out_indices=(0, 1, 2))
    options = dict(dict(type="ChannelAttentionHead", num_landmarks=2, upsample_to=2, **VOTES), **head_options)
    neck = dict(type="PyramidFusion", channels=8)
    return MODELS.build(dict(type="LandmarkDetector", backbone=backbone, neck=neck, head=options))


def mean_error(model, images, samples):
    with torch.no_grad():
        predicted = model.eval()(images, samples, "predict")
    return float(torch.stack([(s.pred_landmarks - s.gt_landmarks).norm(dim=-1) for s in predicted]).mean())


def train(model, images, samples, steps):
    optimizer = torch.optim.Adam(model.train().parameters(), lr=5e-3)
    for _ in range(steps):
        losses = model(images, samples, "loss")
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return losses


def test_it_learns_and_its_discs_go_on_without_offsets():
    images, samples = images_and_samples((48, 64), batch=3)
    voting = small()
    assert set(train(voting, images, samples, 60)) == {"loss_heatmapbce", "loss_offsetl1"}
    voted = mean_error(voting, images, samples)
    assert voted < 2.0
    # Self-training takes the maps of the discs only (Chen et al., section 4.2).
    codec = dict(VOTES["codec"], voting=False, decoder="integral")
    fine = small(codec=codec, loss=dict(type="RegionAttentionLoss"))
    fine.load_state_dict(voting.state_dict())
    before = mean_error(fine, images, samples)
    assert set(train(fine, images, samples, 30)) == {"loss_regionattention"}
    after = mean_error(fine, images, samples)
    assert after < 0.5 * before
