"""Levels and the way up, shared by U-Net and its decoder."""

import pytest
import torch

from mmlandmark.models.unet_levels import UNetLevels


def levels(**kwargs):
    one = UNetLevels(**{**dict(widths=(4, 6, 8), norm_cfg=None), **kwargs})
    one.add_way_up()
    return one


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
def test_the_way_up_returns_the_levels_asked_for(dims, upsample):
    one = levels(dims=dims, upsample=upsample, out_indices=(1, 2))
    features = [torch.rand(1, c, *[12 // 2**i] * dims) for i, c in enumerate((4, 6, 8))]
    assert [f.shape for f in one.go_up(features)] == [(1, 6, *[6] * dims), (1, 8, *[3] * dims)]
    assert {name for name, _ in one.named_children()} == {"upsample", "up1"}  # no finer than asked for


def test_the_up_sampled_comes_before_the_skip():
    one = levels(widths=(2, 3), num_convs=1, act_cfg=None)
    features = [torch.rand(1, 2, 4, 4), torch.rand(1, 3, 2, 2)]
    deep = torch.nn.functional.interpolate(features[1], size=(4, 4), mode="bilinear", align_corners=True)
    torch.testing.assert_close(one.go_up(features)[0], one.up1(torch.cat([deep, features[0]], 1)))


def test_as_many_convolutions_as_asked_for():
    assert len(levels(num_convs=3).up1) == 3


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="UNetLevels needs at least two widths, got"):
        levels(widths=(8,))
    with pytest.raises(ValueError, match=r"out_indices must lie in 0..2, got \(3,\)"):
        levels(out_indices=(3,))
