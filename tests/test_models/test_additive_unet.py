"""The local appearance network of the SpatialConfiguration-Net."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlandmark.models.backbones import AdditiveUNet


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_shapes(dims, padding):
    model = AdditiveUNet(2, 3, levels=3, dims=dims, padding_mode=padding)
    (output,) = model(torch.rand(2, 2, *(17, 12, 14)[-dims:]))  # sides need not be powers of two
    assert output.shape == (2, 3, *(17, 12, 14)[-dims:])
    assert model.out_channels == [3]


def test_levels_are_added():
    torch.manual_seed(0)
    model = AdditiveUNet(1, 4, levels=2).eval()
    image = torch.rand(1, 1, 8, 8)
    fine = model.down1(model.stem(image))
    deep = model.skip2(model.down2(F.avg_pool2d(fine, 2)))
    up = F.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(image)[0], model.skip1(fine) + up)


def test_the_start():
    torch.manual_seed(0)
    model = AdditiveUNet(1, 32, levels=2)
    conv = model.down1[0][0]
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    assert not any(m.bias.any() for m in model.modules() if isinstance(m, nn.Conv2d))
    image = torch.rand(1, 1, 8, 8)
    assert not torch.equal(model(image)[0], model(image)[0])  # values are dropped while it trains
    assert torch.equal(model.eval()(image)[0], model(image)[0])


def test_thick_slices():
    model = AdditiveUNet(1, 2, 3, dims=3, kernel_sizes=[(1, 3, 3), 3, 3], strides=[1, (1, 2, 2), (2, 2, 2)])
    seen = []
    model.down3.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[2:])))
    assert model(torch.rand(1, 1, 4, 16, 16))[0].shape == (1, 2, 4, 16, 16)
    assert seen == [(2, 4, 4)]
    assert model.stem[0].weight.shape[2:] == (1, 3, 3)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least two levels"):
        AdditiveUNet(levels=1)
    with pytest.raises(
        ValueError, match=r"too small for an AdditiveUNet of 3 levels: its sides need \(4, 4\)"
    ):
        AdditiveUNet(1, 2, levels=3)(torch.rand(1, 1, 16, 3))
