"""Fusion of a backbone's levels at one size, of AFPF-RV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import RELU, conv_block, norm_of_dims, start_as_pytorch, upsample
from mmlandmark.models.dilated_block import DilatedBlock
from mmlandmark.registry import MODELS

INSTANCE_NORM = dict(type="IN", affine=True)


@MODELS.register_module()
class PyramidFusion(BaseModule):
    """Brings all levels to one width and the finest size, concatenates them and looks around.

    The feature pyramid fusion of AFPF-RV (Chen et al. 2019): a 1x1 convolution per level, linear
    interpolation, and a :class:`~mmlandmark.models.dilated_block.DilatedBlock` over all of them. The
    publication has batch norms with the statistics of the one image of its batches, in training and in tests:
    that is instance norm, with which batches may have any size, and no image changes what is predicted for
    another.

    Args:
        in_channels: Channels of the levels, finest first.
        channels: Of every level in the fusion.
        dims: 2 or 3.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`, or None.
        act_cfg: Activation of :mod:`mmcv.cnn`, or None.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the one level that is returned, in a list.

    Raises:
        ValueError: The channels of all levels together are no multiple of 4.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 64,
        dims: int = 2,
        norm_cfg: dict | None = INSTANCE_NORM,
        act_cfg: dict | None = RELU,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        options: dict[str, Any] = dict(
            bias=True,
            conv_cfg=dict(type=f"Conv{dims}d"),
            norm_cfg=norm_of_dims(norm_cfg, dims),
            act_cfg=act_cfg,
        )
        width = channels * len(in_channels)
        self.laterals = nn.ModuleList(conv_block(c, channels, 1, **options) for c in in_channels)
        self.fusion = DilatedBlock(width, width, **options)
        self.out_channels, self.dims = [width], dims
        start_as_pytorch(self)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Return (B, levels * channels, *S), from levels (B, C, ...) of which the first is of size *S.

        Raises:
            ValueError: There are more or fewer levels than ``in_channels``.
        """
        if len(features) != len(self.laterals):
            raise ValueError(
                f"PyramidFusion has {len(self.laterals)} levels, the backbone returns {len(features)}"
            )
        levels = [lateral(f) for lateral, f in zip(self.laterals, features, strict=True)]
        return (self.fusion(torch.cat([upsample(level, features[0]) for level in levels], 1)),)
