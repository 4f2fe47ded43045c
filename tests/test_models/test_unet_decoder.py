"""The way up as a neck: a U-Net of any encoder."""

import pytest
import torch

from mmlandmark.models.backbones import UNet
from mmlandmark.models.necks import UNetDecoder


@pytest.mark.parametrize("dims", [2, 3])
def test_it_computes_the_second_half_of_a_unet(dims):
    torch.manual_seed(0)
    whole, half = UNet(1, (4, 6, 8), dims), UNetDecoder((4, 6, 8), dims)
    up = {name: value for name, value in whole.state_dict().items() if name.startswith("up")}
    half.load_state_dict(up)
    levels = []
    for i in range(3):
        getattr(whole, f"down{i + 1}").register_forward_hook(lambda m, a, out: levels.append(out))
    (wanted,) = whole(torch.rand(1, 1, *[16] * dims))
    torch.testing.assert_close(half(levels)[0], wanted)
    assert half.out_channels == whole.out_channels


def test_the_way_up_may_have_widths_of_its_own():
    neck = UNetDecoder((4, 6, 8), widths=(3, 5), out_indices=(0, 1, 2))
    levels = [torch.rand(1, c, side, side) for c, side in ((4, 16), (6, 8), (8, 4))]
    assert [m.shape[1] for m in neck(levels)] == neck.out_channels == [3, 5, 8]
    assert neck.up1[0].conv.in_channels == 8 + 6
    assert neck.up2[0].conv.in_channels == 5 + 4
    learned = UNetDecoder((4, 6, 8), widths=(3, 5), upsample="transposed")
    assert learned(levels)[0].shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="UNetDecoder needs 2 widths, one for each of 3 levels"):
        UNetDecoder((4, 6, 8), widths=(3, 5, 7))


def test_missing_levels_are_named():
    with pytest.raises(ValueError, match="UNetDecoder has 3 levels, the encoder returns 2"):
        UNetDecoder((4, 6, 8))([torch.rand(1, 4, 8, 8), torch.rand(1, 6, 4, 4)])
