"""Embeddings of every pixel of the image from the tokens of a vision transformer (FM-OSD)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.codecs.resizing import resized
from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.heads.base_heatmap_head import the_one_level
from mmlandmark.registry import MODELS


@MODELS.register_module()
class GlobalTokenEmbedding(BaseModule):
    """Tokens enlarged to the size of the image, then one convolution: the global head of FM-OSD.

    Miao et al. 2024, *FM-OSD: Foundation Model-Enabled One-Shot Detection of Anatomical Landmarks*. From 6528
    channels it has 15,040,768 parameters, under their published names.

    Both steps are linear, so each tap of the kernel works on the tokens, and its result is enlarged, axis by
    axis: the same function with a sixteenth of the multiplications at a stride of 4, and without the enlarged
    tokens, which take 1.6 GB of an image of 277 x 224 pixels.

    Args:
        in_channels: Of the one level of tokens.
        channels: Of an embedding.
        kernel_size: Odd.
        dims: 2 or 3.
        init_cfg: See MMEngine; ``dict(type="Pretrained", checkpoint=FILE)`` takes a file with ``conv_out``.

    Attributes:
        out_channels: Channels of the one level that is returned, in a list.

    Raises:
        ValueError: There are several levels, or ``kernel_size`` is even.
    """

    takes_image = True

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int = 256,
        kernel_size: int = 3,
        dims: int = 2,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if kernel_size % 2 != 1:
            raise ValueError(f"kernel_size of GlobalTokenEmbedding must be odd, got {kernel_size}")
        conv: Any = nn.Conv2d if dims == 2 else nn.Conv3d
        width = the_one_level(in_channels, type(self).__name__)
        self.conv_out = conv(width, channels, kernel_size, padding=kernel_size // 2)
        self.dims, self.out_channels = dims, [channels]

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Return embeddings (B, channels, *S) of the pixels of an image.

        Args:
            features: Tokens (B, in_channels, *T), and the image (B, C, *S).
        """
        tokens, image = features
        side, dims = self.conv_out.kernel_size[0], self.dims
        kernels = self.conv_out.weight.flatten(2).transpose(1, 2).flatten(0, 1)  # (channels * taps, C)
        taps = (kernels @ tokens.flatten(2)).unflatten(2, tokens.shape[2:])
        # (B, channels, k, ..., k, *T): one axis after the other is enlarged, its taps are shifted and summed.
        taps = taps.unflatten(1, (-1, *[side] * dims))
        for axis in range(dims - 1, -1, -1):
            place = 2 + 2 * axis  # where the axis is, next to its taps, when those of later axes are summed
            matrix = _enlarging(tokens.shape[2 + axis], image.shape[2 + axis], side).to(taps)
            taps = taps.movedim(2 + axis, place).flatten(place, place + 1)
            taps = (taps.movedim(place, -1) @ matrix).movedim(-1, place)
        return (taps + self.conv_out.bias.view(-1, *[1] * dims),)

    def uncounted_macs(self, features: Sequence[Tensor]) -> int:
        """Return the multiply-adds of one image that its convolution does not show, as it runs in taps."""
        return self.conv_out.weight.numel() * features[0][0, 0].numel()


@MODELS.register_module()
class LocalTokenEmbedding(BaseModule):
    """Tokens on two transposed convolutions, enlarged to the size of the image: the local head of FM-OSD.

    From 6528 channels it has 8,586,496 parameters, under their published names. For patches of the image at
    its full resolution, see :class:`~mmlandmark.models.detectors.CoarseToFineTemplateDetector`.

    Args:
        in_channels: Of the one level of tokens.
        channels: Of an embedding.
        kernel_size: Of the last convolution, odd.
        dims: 2 or 3.
        init_cfg: See MMEngine; ``dict(type="Pretrained", checkpoint=FILE)`` takes a file with ``up`` and
            ``conv_out2``.

    Attributes:
        out_channels: Channels of the one level that is returned, in a list.

    Raises:
        ValueError: There are several levels, or ``kernel_size`` is even.
    """

    takes_image = True

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int = 256,
        kernel_size: int = 5,
        dims: int = 2,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if kernel_size % 2 != 1:
            raise ValueError(f"kernel_size of LocalTokenEmbedding must be odd, got {kernel_size}")
        conv: Any = nn.Conv2d if dims == 2 else nn.Conv3d
        double: Any = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
        norm: Any = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
        width = the_one_level(in_channels, type(self).__name__)
        self.up = nn.Sequential(
            double(width, channels, 2, stride=2),
            norm(channels),
            nn.ReLU(inplace=True),
            double(channels, channels, 2, stride=2),
            nn.ReLU(inplace=True),
        )
        self.conv_out2 = conv(channels, channels, kernel_size, padding=kernel_size // 2)
        self.dims, self.out_channels = dims, [channels]

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Return embeddings (B, channels, *S) of the pixels of an image.

        Args:
            features: Tokens (B, in_channels, *T), and the image (B, C, *S).
        """
        tokens, image = features
        return (self.conv_out2(resized(self.up(tokens), image.shape[2:])),)


def _enlarging(old: int, new: int, taps: int) -> Tensor:
    """Return the matrix (taps * old, new) that enlarges a line, shifts it for every tap, and sums.

    Args:
        old: Pixels before.
        new: Pixels after, by linear interpolation.
        taps: Odd number of them; where one lies beyond the border there is nothing.
    """
    lines = F.interpolate(
        torch.eye(old, dtype=torch.float64)[None], size=new, mode="linear", align_corners=False
    )[0]
    reach = taps // 2
    padded = F.pad(lines, (reach, reach))
    return torch.cat([padded.narrow(1, tap, new) for tap in range(taps)])
