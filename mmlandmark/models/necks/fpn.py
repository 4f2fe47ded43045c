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

    With ``global_level`` the deepest level stays out of that and is returned as well, behind the finest: the
    local and the global embedding of SAM (Yan et al. 2022, *SAM: Self-supervised Learning of Pixel-wise
    Anatomical Embeddings in Radiological Images*).

    Args:
        in_channels: Channels of the levels, finest first.
        channels: Width of the pyramid.
        upsample_to: Factor by which the finest level is enlarged, by linear interpolation, before the head: 4
            brings the first block of a backbone to the size of the image, as in table 2 of FARNet.
        global_level: Return the deepest level, too.
        dims: 2 or 3.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of what is returned, in a list.

    Raises:
        ValueError: With ``global_level`` there is no other level.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        upsample_to: int = 1,
        global_level: bool = False,
        dims: int = 2,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if global_level and len(in_channels) < 2:
            raise ValueError("FPN needs two levels or more for a global one beside the pyramid")
        conv: Any = nn.Conv2d if dims == 2 else nn.Conv3d
        self.laterals = nn.ModuleList(conv(c, channels, 1) for c in in_channels)
        self.output = conv(channels, channels, 3, padding=1)
        self.global_output = conv(channels, channels, 3, padding=1) if global_level else None
        self.upsample_to, self.dims = upsample_to, dims
        self.out_channels = [channels] * (1 + global_level)
        start_as_pytorch(self)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return (B, channels, f *S), f as ``upsample_to``, from levels (B, C, *S / 2^i), finest first.

        With ``global_level`` then (B, channels, *S) of the deepest level.
        """
        levels = [lateral(f) for lateral, f in zip(self.laterals, features, strict=True)]
        deepest = [] if self.global_output is None else [self.global_output(levels.pop())]
        *finer, top = levels
        for lateral in reversed(finer):
            top = lateral + upsample(top, lateral)
        return (enlarged(self.output(top), self.upsample_to), *deepest)
