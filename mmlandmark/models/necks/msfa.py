"""Multi-scale feature aggregation of FARNet (Ao and Wu 2023, section 3.1.1)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import BATCH_NORM, RELU, conv_block, start_as_pytorch, upsample
from mmlandmark.registry import MODELS

FUSIONS = ("concat", "add")


class _Concat(nn.Module):
    """Concatenates two maps, then one convolution (fig. 3)."""

    def __init__(self, path: int, lateral: int, channels_out: int, kernel: int = 1, **block) -> None:
        super().__init__()
        self.fuse = conv_block(path + lateral, channels_out, kernel, **block)

    def forward(self, path: Tensor, lateral: Tensor) -> Tensor:
        return self.fuse(torch.cat([path, lateral], 1))


class _Add(nn.Module):
    """Adds two maps at one width, then one 3x3 convolution, as in FPN and PAN."""

    def __init__(self, path: int, lateral: int, channels_out: int, kernel: int = 3, **block) -> None:
        super().__init__()
        self.path = nn.Conv2d(path, channels_out, 1)
        self.lateral = nn.Conv2d(lateral, channels_out, 1)
        self.fuse = conv_block(channels_out, channels_out, 3, **block)

    def forward(self, path: Tensor, lateral: Tensor) -> Tensor:
        return self.fuse(self.path(path) + self.lateral(lateral))


@MODELS.register_module()
class MSFA(BaseModule):
    """Up, down and up again through the levels of a backbone; the result has the size of its finest level.

    With four levels instead of five, as for VGG, every path is one level shorter.

    Args:
        in_channels: Channels of four or five levels, each half as large as the one before, finest first.
        guide: The first entry of ``in_channels`` is not aggregated but returned too, as the guide of a
            refining head: the first block of VGG, at the size of the image.
        channels: Width of the up-sampling paths, 256 in the paper; all others follow from it. The result has
            a quarter as many.
        fusion: ``concat``, or ``add`` for MSFA(+), the rival of the paper's table 2.
        conv_bias: Of all convolutions before a norm.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`, or None.
        act_cfg: Activation of :mod:`mmcv.cnn`, or None.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the result, and of the guide.

    Raises:
        ValueError: Not four or five levels, ``channels`` is no multiple of 4, or ``fusion`` is unknown.
    """

    dims = 2

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        fusion: str = "concat",
        guide: bool = False,
        conv_bias: bool = True,
        norm_cfg: dict | None = BATCH_NORM,
        act_cfg: dict | None = RELU,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        handed_on, in_channels = list(in_channels[:guide]), list(in_channels[guide:])
        levels = len(in_channels)
        if levels not in (4, 5):
            raise ValueError(f"MSFA takes four or five levels, the backbone gives {levels}")
        if channels % 4 or fusion not in FUSIONS:
            raise ValueError(
                f"MSFA needs a multiple of 4 channels and a fusion of {FUSIONS}, got {channels}, {fusion!r}"
            )
        block: dict[str, Any] = dict(bias=conv_bias, norm_cfg=norm_cfg, act_cfg=act_cfg)
        join = _Concat if fusion == "concat" else _Add
        deepest = levels - 1
        self.bottom = nn.Sequential(
            conv_block(in_channels[-1], 2 * channels, 3, **block),
            conv_block(2 * channels, channels, 1, **block),
        )
        # Level i of a path by name: up1_3 is the first way up at level 3, level 0 the finest.
        for i in range(deepest - 1, 0, -1):
            self.add_module(f"up1_{i}", join(channels, in_channels[i], channels, **block))
        width = channels
        for i in range(2, levels):
            self.add_module(f"step_{i}", conv_block(width, 2 * width, 3, stride=2, **block))
            # The deepest is halved, by a 3x3 convolution.
            out, kernel = (width, 3) if i == deepest else (2 * width, 1)
            self.add_module(f"down_{i}", join(2 * width, channels, out, kernel=kernel, **block))
            width = 2 * width
        self.turn = conv_block(width // 2, channels, 1, **block)
        path = channels
        for i in range(deepest - 1, -1, -1):
            lateral = in_channels[0] if i == 0 else channels * 2 ** (i - 1)
            out = {1: channels // 2, 0: channels // 4}.get(i, channels)
            self.add_module(f"up2_{i}", join(path, lateral, out, **block))
            path = out
        self.deepest, self.guide, self.out_channels = deepest, guide, [path, *handed_on]
        start_as_pytorch(self)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return (B, channels / 4, H, W), and the guide, from levels (B, C, H / 2^i, W / 2^i).

        Raises:
            ValueError: A level is not exactly half as large as the one before.
        """
        handed_on, features = features[: self.guide], features[self.guide :]
        sizes = [tuple(f.shape[2:]) for f in features]
        if any(
            a != 2 * b for fine, half in itertools.pairwise(sizes) for a, b in zip(fine, half, strict=True)
        ):
            raise ValueError(
                f"every level of MSFA must be half as large as the one before, got {sizes}: set "
                "data_preprocessor.size_divisor=32"
            )
        laterals = {self.deepest: self.bottom(features[-1])}
        for i in range(self.deepest - 1, 0, -1):
            above = upsample(laterals[i + 1], features[i])
            laterals[i] = getattr(self, f"up1_{i}")(above, features[i])
        down = {1: laterals[1]}
        for i in range(2, self.deepest + 1):
            below = getattr(self, f"step_{i}")(down[i - 1])
            down[i] = getattr(self, f"down_{i}")(below, laterals[i])
        down[0] = features[0]
        path_up = self.turn(down[self.deepest])
        for i in range(self.deepest - 1, -1, -1):
            path_up = getattr(self, f"up2_{i}")(upsample(path_up, down[i]), down[i])
        return (path_up, *handed_on)
