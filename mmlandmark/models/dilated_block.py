"""Dilated block of AFPF-RV, in two and three dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmlandmark.models.blocks import conv_block

DILATIONS = (1, 2, 4)


class DilatedBlock(nn.Module):
    """Four parallel convolutions, concatenated: one of a pixel, three of the kernel with dilation 1, 2 and 4.

    It sees 9 pixels across with a kernel of 3, and has 7/18 of the weights of two plain convolutions of one
    width (Chen et al. 2019, *Cephalometric Landmark Detection by Attentive Feature Pyramid Fusion and
    Regression-Voting*).

    Args:
        channels: Of the input.
        channels_out: Of the output, a multiple of 4.
        kernel_size: Odd; one for all axes, or one per axis of the array.
        **options: ``stride``, ``bias``, ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of
            :class:`mmcv.cnn.ConvModule`.

    Raises:
        ValueError: ``channels_out`` is no multiple of 4.
    """

    def __init__(
        self, channels: int, channels_out: int, kernel_size: int | tuple[int, ...] = 3, **options: Any
    ) -> None:
        super().__init__()
        part, rest = divmod(channels_out, 1 + len(DILATIONS))
        if rest:
            raise ValueError(f"a dilated block has a multiple of 4 channels, got {channels_out}")
        self.branches = nn.ModuleList([conv_block(channels, part, 1, **options)])
        for dilation in DILATIONS:
            self.branches.append(conv_block(channels, part, kernel_size, dilation=dilation, **options))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels_out, *S / stride), rounded up, from (B, channels, *S)."""
        return torch.cat([branch(features) for branch in self.branches], 1)
