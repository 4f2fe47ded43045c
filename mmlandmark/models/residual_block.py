"""Residual block of the encoders of nnU-Net, in two and three dimensions."""

from __future__ import annotations

from typing import Any

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmlandmark.models.blocks import conv_block


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut that averages where the block strides (He et al. 2019, ResNet-D).

    It is the block of the residual encoder of nnU-Net (Isensee et al. 2024). The activation follows the sum.

    Args:
        channels: Of the input.
        channels_out: Of the output.
        kernel_size: Odd, per axis of the array.
        stride: Per axis of the array.
        **options: ``bias``, ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of :class:`mmcv.cnn.ConvModule`.
    """

    def __init__(
        self,
        channels: int,
        channels_out: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        **options: Any,
    ) -> None:
        super().__init__()
        plain = dict(options, act_cfg=None)
        self.conv1 = conv_block(channels, channels_out, kernel_size, stride=stride, **options)
        self.conv2 = conv_block(channels_out, channels_out, kernel_size, **plain)
        if self.conv2.with_norm and getattr(self.conv2.norm, "weight", None) is not None:
            nn.init.zeros_(self.conv2.norm.weight)  # It starts as its shortcut, as that of nnU-Net does.
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            pool: Any = nn.AvgPool2d if len(stride) == 2 else nn.AvgPool3d
            # Of a side that is no multiple, the strided convolution sees the rest too.
            shortcut.append(pool(stride, stride, ceil_mode=True, count_include_pad=False))
        if channels != channels_out:
            shortcut.append(conv_block(channels, channels_out, 1, **dict(plain, bias=False)))
        self.shortcut = nn.Sequential(*shortcut)
        act = options.get("act_cfg")
        self.act = nn.Identity() if act is None else build_activation_layer(act)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels_out, *S / stride), rounded up, from (B, channels, *S)."""
        return self.act(self.conv2(self.conv1(features)) + self.shortcut(features))
