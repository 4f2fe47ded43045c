"""The aggregation of FARNet: its steps, written out."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.models.necks import MSFA
from mmlandmark.registry import MODELS
from test_models.farnet_model import NARROW


def test_aggregation_step_by_step():
    # What goes in and comes out of every step of the published module, finest level 0.
    neck = MSFA([64, 256, 512, 1024, 1024])
    convs = {
        k: (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for k, m in neck.named_modules()
        if isinstance(m, torch.nn.Conv2d)
    }
    assert convs == {
        "bottom.0.conv": (1024, 512, 3, 1),
        "bottom.1.conv": (512, 256, 1, 1),
        "up1_3.fuse.conv": (1280, 256, 1, 1),
        "up1_2.fuse.conv": (768, 256, 1, 1),
        "up1_1.fuse.conv": (512, 256, 1, 1),
        "step_2.conv": (256, 512, 3, 2),
        "down_2.fuse.conv": (768, 512, 1, 1),
        "step_3.conv": (512, 1024, 3, 2),
        "down_3.fuse.conv": (1280, 1024, 1, 1),
        "step_4.conv": (1024, 2048, 3, 2),
        "down_4.fuse.conv": (2304, 1024, 3, 1),
        "turn.conv": (1024, 256, 1, 1),
        "up2_3.fuse.conv": (1280, 256, 1, 1),
        "up2_2.fuse.conv": (768, 256, 1, 1),
        "up2_1.fuse.conv": (512, 128, 1, 1),
        "up2_0.fuse.conv": (192, 64, 1, 1),
    }
    assert all(m.bias is not None for m in neck.modules() if isinstance(m, torch.nn.Conv2d))


def test_aggregation_equals_its_steps_written_out():
    torch.manual_seed(0)
    neck = MSFA([4, 8, 8, 12, 12], channels=8).eval()
    f1, f2, f3, f4, f5 = levels = [
        torch.rand(1, c, 64 // 2**i, 32 // 2**i) for i, c in enumerate([4, 8, 8, 12, 12])
    ]

    def up(x):
        return torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    def cat(x, y):
        return torch.cat([x, y], 1)

    a5 = neck.bottom(f5)
    a4 = neck.up1_3.fuse(cat(up(a5), f4))
    a3 = neck.up1_2.fuse(cat(up(a4), f3))
    a2 = neck.up1_1.fuse(cat(up(a3), f2))
    b3 = neck.down_2.fuse(cat(neck.step_2(a2), a3))
    b4 = neck.down_3.fuse(cat(neck.step_3(b3), a4))
    b5 = neck.turn(neck.down_4.fuse(cat(neck.step_4(b4), a5)))
    c = neck.up2_3.fuse(cat(up(b5), b4))
    c = neck.up2_2.fuse(cat(up(c), b3))
    c = neck.up2_1.fuse(cat(up(c), a2))
    torch.testing.assert_close(neck(levels)[0], neck.up2_0.fuse(cat(up(c), f1)))


def test_sides_that_do_not_halve_are_named():
    model = MODELS.build(dict(NARROW, data_preprocessor=None))
    with pytest.raises(ValueError, match=r"got \[\(50, 50\), .* data_preprocessor\.size_divisor=32"):
        model(torch.rand(1, 3, 100, 100))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(in_channels=[4, 4, 4]), "four or five levels"),
        (dict(in_channels=[4] * 5, channels=6), "multiple of 4"),
        (dict(in_channels=[4] * 5, fusion="mean"), "fusion"),
    ],
)
def test_bad_arguments_of_the_aggregation(arguments, message):
    with pytest.raises(ValueError, match=message):
        MSFA(**arguments)
