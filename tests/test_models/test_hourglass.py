"""The one-stage hourglass: published size, the size of its maps, and both dimensions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlandmark.models.backbones import Hourglass
from mmlandmark.models.backbones.hourglass import PreactBottleneck
from mmlandmark.registry import MODELS
from test_codecs.downstream_codecs import images_and_samples


def count(model):
    return sum(p.numel() for p in model.parameters())


def bottleneck_parameters(channels, channels_out):
    """Norms of 2 parameters per channel, three convolutions with biases, and one on the shortcut."""
    half = channels_out // 2
    convs = channels * half + half + 9 * half * half + half + half * channels_out + channels_out
    shortcut = 0 if channels == channels_out else channels * channels_out + channels_out
    return 2 * (channels + 2 * half) + convs + shortcut


def test_parameters_of_the_published_network():
    with torch.device("meta"):
        model = Hourglass(in_channels=3)
        maps = nn.Conv2d(256, 16, 1)
    stem = 49 * 3 * 64 + 64 + 128
    before = (
        bottleneck_parameters(64, 128) + bottleneck_parameters(128, 256) + bottleneck_parameters(256, 256)
    )
    hourglass = 14 * bottleneck_parameters(256, 256) + 256 * 256 + 256 + 512
    assert count(model) == stem + before + hourglass
    assert count(model) + count(maps) == 3_586_960
    # A second stage has another hourglass and 16 maps, and two layers that lead back to the features: with
    # two and with eight stages, these are the 6.73 and 25.59 million of published code.
    stage = hourglass + 16 * 257 + 256 * 257 + 256 * 17
    assert (count(model) + count(maps) + stage, count(model) + count(maps) + 7 * stage) == (
        6_730_912,
        25_594_624,
    )


def slow_hourglass(model, features, level=1):
    """Return the output of the hourglass from ``level`` on, as the publication draws it."""
    skip = getattr(model, f"skip{level}")(features)
    inner = getattr(model, f"down{level}")(F.max_pool2d(features, 2))
    inner = model.bottom(inner) if level == model.depth else slow_hourglass(model, inner, level + 1)
    inner = getattr(model, f"up{model.depth + 1 - level}")(inner)
    return skip + inner.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_it_equals_the_drawing():
    torch.manual_seed(0)
    model = Hourglass(1, width=8, depth=3).eval()
    image = torch.rand(2, 1, 64, 96)
    features = model.entry(F.max_pool2d(model.before(model.stem(image)), 2))
    torch.testing.assert_close(model(image)[0], model.exit(slow_hourglass(model, features)))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_maps_have_the_size_of_the_image(dims):
    torch.manual_seed(0)
    size = {2: (32, 40), 3: (16, 24, 20)}[dims]
    images, samples = images_and_samples(size, batch=2)
    codec = dict(type="GaussianHeatmapCodec", sigma=2, activation="sigmoid", decoder="integral")
    loss = dict(type="IntegralL1Loss")
    head = dict(type="HeatmapHead", num_landmarks=2, upsample_to=4, bias_init=-8, codec=codec, loss=loss)
    model = MODELS.build(
        dict(
            type="LandmarkDetector",
            dims=dims,
            backbone=dict(type="Hourglass", width=16, depth=2),
            head=head,
        )
    )
    assert model(images).shape == (2, 2, *size)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    values = []
    for _ in range(15):
        (loss,) = model(images, samples, "loss").values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.5 * values[0]


def test_recomputing_changes_nothing():
    torch.manual_seed(0)
    model, image = Hourglass(1, width=8, depth=1), torch.rand(2, 1, 16, 16)
    model(image)[0].square().sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.with_checkpoint = True
    model(image)[0].square().sum().backward()
    for p, grad in zip(model.parameters(), grads, strict=True):
        torch.testing.assert_close(p.grad, grad)


def test_a_block_without_norm_leaves_its_input_as_it_is():
    features = torch.randn(1, 4, 5, 5)
    before = features.clone()
    PreactBottleneck(4, 4, conv_cfg=None, norm_cfg=None, act_cfg=dict(type="ReLU"))(features)
    assert torch.equal(features, before)


def test_bad_arguments():
    with pytest.raises(ValueError, match="multiple of 8 and at least one level and block, got width 12"):
        Hourglass(width=12)
    with pytest.raises(
        ValueError, match=r"too small for an Hourglass of 6 levels: its sides need \(64, 64\)"
    ):
        Hourglass(width=8)(torch.rand(1, 1, 32, 64))
