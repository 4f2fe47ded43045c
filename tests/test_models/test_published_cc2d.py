"""Weights of the published code of CC2D: its names, and the order of its channels."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmlandmark.engine import LandmarkRunner
from mmlandmark.models.backbones import VGG
from mmlandmark.models.backbones.vgg import ARCHITECTURES
from mmlandmark.models.published_cc2d import decoder_state
from mmlandmark.registry import MODELS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import check_state_dict, complete_state

WIDTHS, WAYS, FULL, EMBEDDING = (4, 4, 5, 6, 7), (8, 3, 4, 5), 8, 2
UPS = (*reversed(WAYS), FULL)  # channels of up1 to up5


def model_config(full_size=False, **neck):
    return dict(
        type="TemplateDetector",
        data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3),
        backbone=dict(type="VGG", depth=19, pooled=True, widths=WIDTHS),
        neck=dict(
            dict(type="EmbeddingDecoder", widths=WAYS, embedding=EMBEDDING, full_size=full_size), **neck
        ),
        head=dict(
            type="TemplateHead",
            num_landmarks=19,
            codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax"),
        ),
        contrast=dict(type="CascadeContrastLoss"),
    )


def published_state(prefix=""):
    """Return random weights under the published names, with those that are never computed."""
    torch.manual_seed(0)
    state = {}

    def conv(name, channels, out, *kernel, bias=True):
        state[f"{name}.weight"] = (
            torch.randn(out, channels, *kernel) / (channels * kernel[0] * kernel[1]) ** 0.5
        )
        if bias:
            state[f"{name}.bias"] = torch.randn(out) / 4

    def norm(name, channels):
        for key in ("weight", "running_var"):
            state[f"{name}.{key}"] = torch.rand(channels) + 0.5
        for key in ("bias", "running_mean"):
            state[f"{name}.{key}"] = torch.randn(channels) / 4
        state[f"{name}.num_batches_tracked"] = torch.tensor(9)

    def basic(name, channels, out, *kernel):
        conv(f"{name}.conv", channels, out, *kernel, bias=False)
        norm(f"{name}.bn", out)

    number, channels = 0, 3
    for width, count in zip(WIDTHS, ARCHITECTURES[19], strict=True):
        for _ in range(count):
            conv(f"vgg.features.{number}", channels, width, 3, 3)
            number, channels = number + 2, width
        number += 1
    conv("vgg.classifier.0", 5, 4, 1, 1)
    conv("RPR_head.fc", 5, 4, 1, 1)
    skips, below = (*reversed(WIDTHS[:-1]), 0), WIDTHS[-1]
    for n, (skip, width) in enumerate(zip(skips, UPS, strict=True), 1):
        conv(f"up{n}.conv.double_conv.0", skip + below, width, 3, 3)
        norm(f"up{n}.conv.double_conv.1", width)
        conv(f"up{n}.conv.double_conv.3", width, width, 3, 3)
        norm(f"up{n}.conv.double_conv.4", width)
        below = width
    for level, width in zip(range(5, -1, -1), (WIDTHS[-1], *UPS), strict=True):
        conv(f"trans_{level}", width, EMBEDDING, 1, 1)
        if level >= 3:
            field = f"non_local_{level}"
            basic(f"{field}.branch0.0", width, width, 1, 1)
            for b, side in ((1, 3), (2, 5), (3, 7)):
                for i, kernel in enumerate(((1, 1), (1, side), (side, 1), (3, 3))):
                    basic(f"{field}.branch{b}.{i}", width, width, *kernel)
            basic(f"{field}.conv_cat", 4 * width, width, 3, 3)
            basic(f"{field}.conv_res", width, width, 1, 1)
    return {prefix + name: value for name, value in state.items()}


def published_levels(state, image):
    """Compute the levels, finest first, as the published code does, by its names."""

    def conv(name, x, dilation=1):
        weight = state[f"{name}.weight"]
        padding = [dilation * (side // 2) for side in weight.shape[2:]]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=padding, dilation=dilation)

    def norm(name, x):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys))

    def basic(name, x, dilation=1):
        return norm(f"{name}.bn", conv(f"{name}.conv", x, dilation))

    def field(name, x):
        branches = [basic(f"{name}.branch0.0", x)]
        for b, dilation in ((1, 3), (2, 5), (3, 7)):
            branch = x
            for i in range(4):
                branch = basic(f"{name}.branch{b}.{i}", branch, dilation if i == 3 else 1)
            branches.append(branch)
        return F.relu(basic(f"{name}.conv_cat", torch.cat(branches, 1)) + basic(f"{name}.conv_res", x))

    taps, number, x = [], 0, image
    for count in ARCHITECTURES[19]:
        for _ in range(count):
            x = F.relu(conv(f"vgg.features.{number}", x))
            number += 2
        number, x = number + 1, F.max_pool2d(x, 2)
        taps.append(x)
    ways = [taps[-1]]
    for n, skip in enumerate([*reversed(taps[:-1]), None], 1):
        x = F.interpolate(ways[-1], scale_factor=2, mode="bilinear", align_corners=True)
        x = x if skip is None else torch.cat([skip, x], 1)
        for i in (0, 3):
            x = F.relu(norm(f"up{n}.conv.double_conv.{i + 1}", conv(f"up{n}.conv.double_conv.{i}", x)))
        ways.append(x)
    seen = [field(f"non_local_{5 - i}", way) if i < 3 else way for i, way in enumerate(ways)]
    return [conv(f"trans_{5 - i}", way) for i, way in enumerate(seen)][::-1]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("full_size", [False, True])
def test_it_computes_what_the_published_network_computes(full_size, prefix):
    model = MODELS.build(model_config(full_size)).eval()
    state = published_state(prefix)
    own = model.state_dict()
    assert complete_state(state, model) == []
    check_state_dict(model, {**{k: v for k, v in own.items() if k.startswith("head.")}, **state}, "it")
    model.load_state_dict(state, strict=False)
    image = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        expected = published_levels(published_state(), image)
        levels = model.neck(model.backbone(image))
    for level, wanted in zip(levels, expected[0 if full_size else 1 :], strict=True):
        torch.testing.assert_close(level, wanted, rtol=1e-4, atol=1e-5)


def test_a_run_starts_from_the_published_file(tmp_path):
    """By ``load_from``; adapters beside the published convolutions are new."""
    torch.save(published_state(), tmp_path / "published.pth")
    adapters = dict(type="AdapterDecoder", adapter_channels=1)
    loader = phantom_dataloader(size=(64, 64))
    loader["dataset"]["unlabelled"] = True
    for number, neck in enumerate((dict(), adapters)):
        config = tiny_config(
            tmp_path / f"{number}",
            model=dict(model_config(**neck), _delete_=True),
            custom_hooks=[dict(type="TemplateHook", template=dict(offset=7, num_samples=1))],
            train_dataloader=loader,
            load_from=str(tmp_path / "published.pth"),
        )
        if neck:
            config.model.patches = dict(around="landmarks")
        runner = LandmarkRunner.from_cfg(copy.deepcopy(config))
        runner.load_or_resume()
        own, given = runner.model.state_dict(), published_state()
        first = given["up1.conv.double_conv.0.weight"]
        skip = WIDTHS[-2]
        shared = torch.cat([first[:, skip:], first[:, :skip]], 1)
        known = own["neck.up1.0.conv.weight"]
        assert torch.equal(known[:, : shared.shape[1]], shared)
        assert not known[:, shared.shape[1] :].any()
        assert torch.equal(own["backbone.features.34.weight"], given["vgg.features.34.weight"])


def test_the_encoder_alone_starts_from_the_published_file(tmp_path):
    given = published_state()
    torch.save(given, tmp_path / "published.pth")
    source = dict(type="Pretrained", checkpoint=str(tmp_path / "published.pth"))
    model = VGG(19, pooled=True, widths=WIDTHS, in_channels=1, init_cfg=source)
    model.init_weights()
    first = given["vgg.features.0.weight"].sum(1, keepdim=True)  # three equal channels
    torch.testing.assert_close(model.features[0].weight, first)
    assert torch.equal(model.features[34].bias, given["vgg.features.34.bias"])


def test_weights_of_another_network_are_refused(tmp_path):
    for name in ("up1.conv.double_conv.2.weight", "non_local_5.branch4.0.conv.weight", "trans_6.bias"):
        with pytest.raises(ValueError, match=f"'{name}' is no parameter of the published CC2D"):
            decoder_state({name: torch.zeros(1)}, WIDTHS)
    state = published_state()
    del state["trans_3.bias"]
    torch.save(state, tmp_path / "published.pth")
    config = tiny_config(tmp_path / "run", load_from=str(tmp_path / "published.pth"))
    config = Config(dict(config._cfg_dict, model=model_config()))
    config.custom_hooks = [dict(type="TemplateHook", template=dict(offset=7, num_samples=1))]
    config.train_dataloader.dataset.unlabelled = True
    with pytest.raises(
        ValueError, match=r"weights of another model: 1 missing \(neck\.embeddings\.2\.bias\)"
    ):
        LandmarkRunner.from_cfg(config).load_or_resume()
