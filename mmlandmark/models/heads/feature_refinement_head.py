"""Feature refinement and coarse-to-fine supervision of FARNet (Ao and Wu 2023, sections 3.1.2 and 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmlandmark.models.blocks import BATCH_NORM, RELU, conv_block, start_as_pytorch, upsample
from mmlandmark.models.heads.base_heatmap_head import BaseHeatmapHead
from mmlandmark.registry import MODELS


@MODELS.register_module()
class FeatureRefinementHead(BaseHeatmapHead):
    """Maps at the size of the features, and from them finer ones at the size of the image.

    Level 0 is the fine map, level 1 the coarse one. Both have the same sigma in pixels of their own map, so
    that the coarse target is twice as wide in the image.

    Args:
        in_channels: Channels of the features; a second entry is that of a guide at the size of the image from
            the backbone (the first block of VGG), which then replaces the image.
        num_landmarks: K.
        codec: Config of a codec.
        loss: Config of a loss, or a list of them.
        num_annotators: R, see :class:`BaseHeatmapHead`, likewise ``level_weights``.
        level_weights: Weights of the fine and the coarse level; 1 and 1 in the paper.
        coarse: False for the naive version FR* of the paper's table 2: no coarse map, no loss on it.
        image_channels: Of the network's input.
        guide_channels: Channels of the convolution on the image, 32 in the paper.
        guide_kernel: Its kernel: 1 in the published code, 3 in the paper.
        norm_cfg: Its norm layer.
        act_cfg: Its activation.
        presence: See :class:`BaseHeatmapHead`.
        init_cfg: See MMEngine.

    Raises:
        ValueError: More than two entries of ``in_channels``.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_landmarks: int,
        codec: dict,
        loss: dict | Sequence[dict],
        num_annotators: int = 1,
        level_weights: Sequence[float] | None = None,
        coarse: bool = True,
        image_channels: int = 3,
        guide_channels: int = 32,
        guide_kernel: int = 1,
        norm_cfg: dict | None = BATCH_NORM,
        act_cfg: dict | None = RELU,
        presence: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        channels = [in_channels] if isinstance(in_channels, int) else list(in_channels)
        if len(channels) not in (1, 2):
            raise ValueError(
                f"FeatureRefinementHead takes features and at most one guide, got in_channels {channels}"
            )
        levels = 2 if coarse else 1
        super().__init__(
            num_landmarks, codec, loss, num_annotators, levels, level_weights, 2, presence, init_cfg
        )
        self.takes_image = len(channels) == 1
        self.guide = nn.Identity()
        if self.takes_image:
            block = dict(bias=True, norm_cfg=norm_cfg, act_cfg=act_cfg)
            self.guide = conv_block(image_channels, guide_channels, guide_kernel, **block)
            channels.append(guide_channels)
        self.coarse_hidden = nn.Conv2d(channels[0], channels[0], 3, padding=1) if coarse else None
        self.coarse_conv = nn.Conv2d(channels[0], self.num_maps, 1) if coarse else None
        width = sum(channels) + (self.num_maps if coarse else 0)
        self.fine_hidden = nn.Conv2d(width, width, 3, padding=1)
        self.fine_conv = nn.Conv2d(width, self.num_maps, 1)
        start_as_pytorch(self)

    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return raw maps (B, R * K * M, H, W) and, with ``all_levels``, (B, R * K * M, H / 2, W / 2).

        Args:
            features: (B, C, H / 2, W / 2) features and the guide (B, C', H, W), the image itself or features.
            all_levels: Whether to return the coarse map too.

        Raises:
            ValueError: The guide is smaller than the features.
        """
        coarse, guide = features
        if guide.shape[2] < coarse.shape[2]:
            raise ValueError(
                f"the guide must be larger than the features, got {tuple(guide.shape[2:])} and "
                f"{tuple(coarse.shape[2:])}: give features first, then the guide"
            )
        guide = self.guide(guide)
        parts = [upsample(coarse, guide), guide]
        maps = []
        if self.coarse_conv is not None and self.coarse_hidden is not None:
            maps.append(self.coarse_conv(self.coarse_hidden(coarse)))
            parts.append(upsample(maps[0], guide))
        fine = self.fine_conv(self.fine_hidden(torch.cat(parts, 1)))
        return [fine, *maps] if all_levels else [fine]
