"""A backbone: from images to a tuple of feature maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmlandmark.registry import MODELS


@MODELS.register_module()
class DilatedStack(nn.Module):
    """Dilated convolutions at the full resolution.

    Args:
        in_channels: Channels of the image.
        width: Channels of every layer.
        dilations: One layer for each.

    Attributes:
        out_channels: Channels of the maps in the returned tuple.
    """

    def __init__(self, in_channels: int = 1, width: int = 8, dilations: Sequence[int] = (1, 2, 4, 8)) -> None:
        super().__init__()
        self.out_channels = (width,)
        layers: list[nn.Module] = []
        for dilation in dilations:
            layers += [nn.Conv2d(in_channels, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            in_channels = width
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return ((B, width, H, W),) for images of (B, in_channels, H, W)."""
        return (self.layers(images),)
