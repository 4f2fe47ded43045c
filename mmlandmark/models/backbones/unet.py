"""U-Net in two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlandmark.models.blocks import conv_block, space_to_depth, start_as_pytorch
from mmlandmark.models.recompute import run
from mmlandmark.registry import MODELS

INSTANCE_NORM = dict(type="IN")
LEAKY_RELU = dict(type="LeakyReLU", negative_slope=0.01)


class _Upsample(nn.Module):
    """Resize features to the size of their skip connection."""

    def __init__(self, mode: str, align_corners: bool | None) -> None:
        super().__init__()
        self.mode, self.align_corners = mode, align_corners

    def forward(self, features: Tensor, size: torch.Size) -> Tensor:
        return F.interpolate(features, size=size, mode=self.mode, align_corners=self.align_corners)


@MODELS.register_module()
class UNet(BaseModule):
    """U-Net (Ronneberger et al. 2015) without learned up-sampling.

    Every level is ``num_convs`` times convolution, norm, activation; levels are joined by max-pooling on
    the way down, and by interpolation and concatenation ``[up-sampled, skip]`` on the way up. With the
    defaults, ``in_channels=3``, biased convolutions and instance norm without parameters, widths
    (32, 64, 128, 256) and (64, 128, 256, 512, 1024) are UNet4 and UNet5 of FSF-LD (Huang et al. 2022).

    Args:
        in_channels: Of the image.
        widths: Channels per level, full resolution first.
        dims: 2 or 3.
        num_convs: Convolutions per level.
        conv_bias: ``auto`` leaves the bias out where a norm with parameters follows.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`, or None.
        act_cfg: Activation of :mod:`mmcv.cnn`, or None.
        upsample: ``bilinear`` (trilinear in 3D) or ``nearest``.
        align_corners: Of the interpolation; ignored for ``nearest``.
        stem_stride: s; blocks of s pixels a side become channels before the first level (space to depth), so
            that fine detail is seen at the cost of an image s times smaller. Level 0 is that small.
        out_indices: Decoder levels to return, 0 is the finest; the first is the main output.
        with_checkpoint: Recompute levels in the backward pass instead of storing them.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the returned levels.

    Raises:
        ValueError: Fewer than two widths, or an ``out_indices`` entry without a level.
    """

    def __init__(
        self,
        in_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256),
        dims: int = 2,
        num_convs: int = 2,
        conv_bias: bool | str = True,
        norm_cfg: dict | None = INSTANCE_NORM,
        act_cfg: dict | None = LEAKY_RELU,
        upsample: str = "bilinear",
        align_corners: bool = True,
        stem_stride: int = 1,
        out_indices: Sequence[int] = (0,),
        with_checkpoint: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(widths) < 2:
            raise ValueError(f"UNet needs at least two widths, got {tuple(widths)}")
        if not out_indices or not all(0 <= i < len(widths) for i in out_indices):
            raise ValueError(f"out_indices must lie in 0..{len(widths) - 1}, got {tuple(out_indices)}")
        self.dims, self.out_indices, self.with_checkpoint = dims, tuple(out_indices), with_checkpoint
        self.out_channels = [widths[i] for i in out_indices]
        norm_cfg, conv_cfg = _of_dims(norm_cfg, dims), dict(type=f"Conv{dims}d")

        shared = dict(bias=conv_bias, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)

        def level(channels_in: int, channels: int) -> nn.Sequential:
            return nn.Sequential(
                *[
                    conv_block(channels_in if i == 0 else channels, channels, **shared)
                    for i in range(num_convs)
                ]
            )

        self.stem_stride = stem_stride
        in_channels = in_channels * stem_stride**dims
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)
        mode = {("bilinear", 3): "trilinear"}.get((upsample, dims), upsample)
        self.upsample = _Upsample(mode, None if mode == "nearest" else align_corners)
        # down1..downN from full resolution, up1.. from the deepest: the names methods tap features by.
        self.depth = len(widths)
        for i, width in enumerate(widths):
            self.add_module(f"down{i + 1}", level(in_channels if i == 0 else widths[i - 1], width))
        for i in range(len(widths) - 1, min(out_indices), -1):
            self.add_module(f"up{len(widths) - i}", level(widths[i] + widths[i - 1], widths[i - 1]))
        start_as_pytorch(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return decoder features of ``out_indices``; (B, in_channels, *S) -> tuple of (B, C, *S / (s 2^i)).

        Raises:
            ValueError: A side of the image is no multiple of ``stem_stride``, or shorter than that times
                ``2 ** (levels - 1)``.
        """
        images = space_to_depth(images, self.stem_stride)
        if min(images.shape[2:]) < 2 ** (self.depth - 1):
            raise ValueError(
                f"an image of {tuple(images.shape[2:])} is too small for a UNet of {self.depth} levels: "
                f"every side needs {2 ** (self.depth - 1)} pixels behind the stem"
            )
        skips: list[Tensor] = []
        features = images
        for i in range(self.depth):
            features = self._run(f"down{i + 1}", features if i == 0 else self.pool(features))
            skips.append(features)
        levels = {self.depth - 1: skips.pop()}
        last = min(self.out_indices)
        for i in range(self.depth - 2, last - 1, -1):
            skip = skips.pop()
            features = torch.cat([self.upsample(features, skip.shape[2:]), skip], 1)
            features = self._run(f"up{self.depth - 1 - i}", features)
            levels[i] = features
        return tuple(levels[i] for i in self.out_indices)

    def _run(self, name: str, features: Tensor) -> Tensor:
        return run(getattr(self, name), features, self.with_checkpoint and self.training)


def _of_dims(norm_cfg: dict | None, dims: int) -> dict | None:
    """Give the dimension-free norm names of a config the dimension mmcv asks for."""
    if norm_cfg is not None and norm_cfg["type"] in ("BN", "IN"):
        return dict(norm_cfg, type=f"{norm_cfg['type']}{dims}d")
    return norm_cfg
