"""A network that tells real images from made ones, patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Scores every patch of an image: PatchGAN (Isola et al., "Image-to-image translation", 2017).

    Convolutions of 4 pixels, all but the last two with stride 2, instance norm without weights behind all but
    the first and the last, leaky ReLU of slope 0.2. The last convolution gives one score per patch, without
    activation.

    Args:
        in_channels: Of the images.
        dims: Spatial dimensions, 2 or 3.
        widths: Channels of the hidden convolutions.

    Attributes:
        smallest: Pixels that an image must have along every axis.
    """

    def __init__(self, in_channels: int, dims: int = 2, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        conv: Any = nn.Conv2d if dims == 2 else nn.Conv3d
        norm: Any = nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d
        layers = [conv(in_channels, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level, (before, after) in enumerate(pairwise(widths), start=2):
            stride = 2 if level < len(widths) else 1
            layers += [conv(before, after, 4, stride=stride, padding=1), norm(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, conv(widths[-1], 1, 4, padding=1))
        # Each stride halves a side, and the last two convolutions take a pixel each and leave one.
        self.smallest = 3 * 2 ** max(len(widths) - 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores (B, 1, *P) of the patches of images (B, C, *S)."""
        return self.layers(images)
