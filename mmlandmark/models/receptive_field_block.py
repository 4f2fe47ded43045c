"""Receptive field block: branches that see a pixel's surroundings at several distances, in 2D and 3D."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmlandmark.models.blocks import BATCH_NORM, conv_block, norm_of_dims

KERNELS = (3, 5, 7)  # of a branch's plain convolutions, and the dilation of its last one


class ReceptiveFieldBlock(nn.Module):
    """The modified receptive field block (RFB) that CC2D has taken over.

    One branch is a convolution of a pixel. Each of three others goes on with one kernel per axis and a 3x3
    kernel of as large a dilation. A convolution puts the four together; a shortcut is added. All have a batch
    norm, and only the sum an activation. Liu et al. 2018, *Receptive Field Block Net for Accurate and Fast
    Object Detection*, with all branches as wide as the input: 98 C^2 + 30 C parameters in 2D.

    Args:
        in_channels: C.
        channels_out: Of every branch and of the output; None for C.
        dims: 2 or 3.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`.
    """

    def __init__(
        self,
        in_channels: int,
        channels_out: int | None = None,
        dims: int = 2,
        norm_cfg: dict | None = BATCH_NORM,
    ) -> None:
        super().__init__()
        width = in_channels if channels_out is None else channels_out
        options: dict[str, Any] = dict(
            bias=False,
            conv_cfg=dict(type=f"Conv{dims}d"),
            norm_cfg=norm_of_dims(norm_cfg, dims),
            act_cfg=None,
        )

        def conv(channels: int, kernel: int | tuple[int, ...], dilation: int = 1) -> nn.Module:
            return conv_block(channels, width, kernel, dilation=dilation, **options)

        self.branches = nn.ModuleList([conv(in_channels, 1)])
        for side in KERNELS:
            lines = [tuple(side if i == axis else 1 for i in range(dims)) for axis in reversed(range(dims))]
            convs = [conv(in_channels, 1), *(conv(width, line) for line in lines), conv(width, 3, side)]
            self.branches.append(nn.Sequential(*convs))
        self.join = conv(len(self.branches) * width, 3)
        self.shortcut = conv(in_channels, 1)
        self.activate = nn.ReLU(inplace=True)
        self.axis = -dims - 1  # of channels, also in maps that have more axes before it

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels_out, *S) from (B, C, *S)."""
        joined = self.join(torch.cat([branch(features) for branch in self.branches], self.axis))
        return self.activate(joined + self.shortcut(features))
