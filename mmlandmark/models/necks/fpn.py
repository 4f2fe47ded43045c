"""Feature pyramid (Lin et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import start_as_pytorch, upsample
from mmlandmark.registry import MODELS


@MODELS.register_module()
class FPN(BaseModule):
    """Adds all levels from the deepest up, at one width; returns the finest.

    Args:
        in_channels: Channels of the levels, finest first.
        channels: Width of the pyramid.
        upsample_to: Factor by which the finest level is enlarged, bilinear, before the head: 4 brings the
            first block of a backbone to the size of the image, as in table 2 of FARNet.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the one level that is returned, in a list.
    """

    dims = 2

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        upsample_to: int = 1,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.output = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsample_to, self.out_channels = upsample_to, [channels]
        start_as_pytorch(self)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Return (B, channels, f H, f W), f as ``upsample_to``, from levels (B, C, H / 2^i, W / 2^i)."""
        *finer, top = (lateral(f) for lateral, f in zip(self.laterals, features, strict=True))
        for lateral in reversed(finer):
            top = lateral + upsample(top, lateral)
        top = self.output(top)
        if self.upsample_to != 1:
            top = F.interpolate(top, scale_factor=self.upsample_to, mode="bilinear", align_corners=False)
        return (top,)
