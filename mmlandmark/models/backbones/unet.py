"""U-Net in two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from mmlandmark.models.blocks import conv_block, per_axis, per_level, space_to_depth, start_as_pytorch
from mmlandmark.models.residual_block import ResidualBlock
from mmlandmark.models.unet_levels import INSTANCE_NORM, LEAKY_RELU, UNetLevels, check_sides
from mmlandmark.registry import MODELS

DOWNSAMPLES = ("max_pool", "avg_pool", "conv")


@MODELS.register_module()
class UNet(UNetLevels):
    """U-Net (Ronneberger et al. 2015), with the options of nnU-Net (Isensee et al. 2021, 2024).

    Every level is ``num_convs`` times convolution, norm, activation; levels are joined by max-pooling on
    the way down, and by interpolation and concatenation ``[up-sampled, skip]`` on the way up. With the
    defaults, ``in_channels=3``, biased convolutions and instance norm without parameters, widths
    (32, 64, 128, 256) and (64, 128, 256, 512, 1024) are UNet4 and UNet5 of FSF-LD (Huang et al. 2022).

    nnU-Net has ``downsample="conv"``, ``upsample="transposed"``, ``norm_cfg=dict(type="IN", affine=True)``,
    and with its residual encoder ``residual_blocks=(1, 3, 4, 6, 6, 6)`` and ``num_convs=1``.

    Args:
        in_channels: Of the image.
        widths: Channels per level, full resolution first.
        dims: 2 or 3.
        downsample: From level to level: ``max_pool``, ``avg_pool``, or ``conv`` for a stride of the next
            level's first convolution. All take ``strides``.
        residual_blocks: Residual blocks per level of the encoder instead of ``num_convs`` plain convolutions,
            one number or one per level, after a first convolution of the image; None for none.
        stem_stride: s; blocks of s pixels a side become channels before the first level (space to depth), so
            that the network sees fine detail at the cost of an image s times smaller. Level 0 has that size.
            One number, or one per axis of the array.
        bottleneck: Config of a module on the deepest features, such as
            :class:`~mmlandmark.models.NonLocalBlock`; its ``in_channels`` and ``dims`` are filled in.
        num_convs: This and all that follow: see :class:`~mmlandmark.models.unet_levels.UNetLevels`.

    Attributes:
        out_channels: Channels of the returned levels.

    Raises:
        ValueError: ``downsample`` is unknown; see also ``UNetLevels``.
    """

    def __init__(
        self,
        in_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256),
        dims: int = 2,
        downsample: str = "max_pool",
        residual_blocks: int | Sequence[int] | None = None,
        stem_stride: int | Sequence[int] = 1,
        bottleneck: dict | None = None,
        num_convs: int | Sequence[int] = 2,
        kernel_sizes: int | Sequence[int | Sequence[int]] = 3,
        strides: Sequence[int | Sequence[int]] | None = None,
        conv_bias: bool | str = True,
        norm_cfg: dict | None = INSTANCE_NORM,
        act_cfg: dict | None = LEAKY_RELU,
        upsample: str = "bilinear",
        align_corners: bool = True,
        out_indices: Sequence[int] = (0,),
        with_checkpoint: bool = False,
        dilated: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        # All by name, so that a slip in a config is found before anything is built.
        super().__init__(
            *(widths, dims, num_convs, kernel_sizes, strides, conv_bias, norm_cfg, act_cfg),
            *(upsample, align_corners, out_indices, with_checkpoint, dilated, init_cfg),
        )
        if downsample not in DOWNSAMPLES:
            raise ValueError(f"downsample must be one of {DOWNSAMPLES}, got {downsample!r}")
        self.stem_stride = per_axis(stem_stride, dims, "stem_stride")
        blocks = (
            None if residual_blocks is None else per_level(residual_blocks, self.depth, "residual_blocks")
        )
        # down1, down2... from full resolution on: methods tap features by these names.
        before = in_channels * math.prod(self.stem_stride)
        self.pools = nn.ModuleList()
        for i, width in enumerate(self.widths):
            strided = downsample == "conv"
            self.pools.append(nn.Identity() if strided or i == 0 else _pool(downsample, self.strides[i]))
            stride = self.strides[i] if strided else (1,) * dims
            level = (
                self.level(i, before, stride)
                if blocks is None
                else self._residual_level(i, before, stride, blocks[i])
            )
            self.add_module(f"down{i + 1}", level)
            before = width
        self.bottleneck = None
        if bottleneck is not None:
            self.bottleneck = MODELS.build(dict(bottleneck, in_channels=before, dims=dims))
        self.add_way_up()
        start_as_pytorch(self)

    def _residual_level(
        self, index: int, channels: int, stride: tuple[int, ...], count: int
    ) -> nn.Sequential:
        """Return the residual blocks of a level, the first with ``channels`` inputs and the stride."""
        width, kernel = self.widths[index], self.kernel_sizes[index]
        level = nn.Sequential()
        if index == 0:
            level.append(conv_block(channels, width, kernel, **self._options))
            channels = width
        for _ in range(count):
            level.append(ResidualBlock(channels, width, kernel, stride, **self._options))
            channels, stride = width, (1,) * self.dims
        return level

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return decoder features of ``out_indices``; (B, in_channels, *S) -> tuple of (B, C, *S / (s 2^i)).

        Raises:
            ValueError: A side of the image is no multiple of ``stem_stride``, or shorter than that times the
                strides of all levels; or instance norm is left with one pixel.
        """
        features = space_to_depth(images, self.stem_stride)
        check_sides(features, self.strides, "a UNet", self._options["norm_cfg"])
        levels: list[Tensor] = []
        for i, pool in enumerate(self.pools):
            features = self.run_level(f"down{i + 1}", pool(features))
            levels.append(features)
        if self.bottleneck is not None:
            levels[-1] = self.bottleneck(levels[-1])
        return self.go_up(levels)


def _pool(kind: str, stride: tuple[int, ...]) -> nn.Module:
    """Return a pooling layer."""
    name = {"max_pool": "MaxPool", "avg_pool": "AvgPool"}[kind]
    return getattr(nn, f"{name}{len(stride)}d")(stride)
