"""Feature pyramid (Lin et al. 2017), in two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import enlarged, start_as_pytorch, upsample
from mmlandmark.registry import MODELS


@MODELS.register_module()
class FPN(BaseModule):
    """Adds all levels from the deepest up, at one width; returns the finest.

    Args:
        in_channels: Channels of the levels, finest first.
        channels: Width of the pyramid.
        upsample_to: Factor by which the finest level is enlarged, by linear interpolation, before the head: 4
            brings the first block of a backbone to the size of the image, as in table 2 of FARNet.
        dims: 2 or 3.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the one level that is returned, in a list.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        upsample_to: int = 1,
        dims: int = 2,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        conv: Any = nn.Conv2d if dims == 2 else nn.Conv3d
        self.laterals = nn.ModuleList(conv(c, channels, 1) for c in in_channels)
        self.output = conv(channels, channels, 3, padding=1)
        self.upsample_to, self.out_channels, self.dims = upsample_to, [channels], dims
        start_as_pytorch(self)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Return (B, channels, f *S), f as ``upsample_to``, from levels (B, C, *S / 2^i), finest first."""
        *finer, top = (lateral(f) for lateral, f in zip(self.laterals, features, strict=True))
        for lateral in reversed(finer):
            top = lateral + upsample(top, lateral)
        return (enlarged(self.output(top), self.upsample_to),)
