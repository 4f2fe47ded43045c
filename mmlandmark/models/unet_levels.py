"""Levels of convolutions and the way up over them, shared by U-Net and its decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import conv_block, norm_of_dims, per_axis, per_level
from mmlandmark.models.dilated_block import DilatedBlock
from mmlandmark.models.recompute import run

INSTANCE_NORM = dict(type="IN")
LEAKY_RELU = dict(type="LeakyReLU", negative_slope=0.01)
UPSAMPLES = ("bilinear", "nearest", "transposed")


class _Upsample(nn.Module):
    """Resize features to the size of their skip connection."""

    def __init__(self, mode: str, align_corners: bool | None) -> None:
        super().__init__()
        self.mode, self.align_corners = mode, align_corners

    def forward(self, features: Tensor, size: torch.Size) -> Tensor:
        return F.interpolate(features, size=size, mode=self.mode, align_corners=self.align_corners)


class _Transposed(nn.Module):
    """A transposed convolution whose kernel is its stride, brought to the size of the skip connection."""

    def __init__(self, channels: int, channels_out: int, stride: tuple[int, ...], bias: bool) -> None:
        super().__init__()
        conv: Any = nn.ConvTranspose2d if len(stride) == 2 else nn.ConvTranspose3d
        self.conv = conv(channels, channels_out, stride, stride, bias=bias)

    def forward(self, features: Tensor, size: torch.Size) -> Tensor:
        features = self.conv(features)
        # A side that is no multiple of the stride: a pixel too many after a strided convolution, one too few
        # after pooling.
        for axis, side in enumerate(size):
            features = features.narrow(2 + axis, 0, min(side, features.shape[2 + axis]))
        pad = [p for side, have in zip(size, features.shape[2:], strict=True) for p in (side - have, 0)]
        return F.pad(features, pad[::-1], "replicate") if any(pad) else features


class UNetLevels(BaseModule):
    """Levels of convolutions, and the way up over them.

    Sizes of kernels and strides are in array order, (z,) y, x, as in the plans of nnU-Net.

    Args:
        widths: Channels per level, finest first.
        dims: 2 or 3.
        num_convs: Convolutions per level: one number, or one per level.
        dilated: Every level is one :class:`~mmlandmark.models.dilated_block.DilatedBlock` instead: the
            modified U-Net of shape-regulated self-training (Chen et al., section 4.2). The widths are
            multiples of 4.
        kernel_sizes: Of the convolutions, odd: one number, or one entry per level, each a number or one per
            axis. A thick slice needs no kernel across slices: ``[(1, 3, 3), (3, 3, 3), ...]``.
        strides: From the level before to each: one entry per level, each a number or one per axis, the first
            1; None for 2 everywhere. Thick slices are not halved: ``[1, (1, 2, 2), (2, 2, 2), ...]``.
        conv_bias: ``auto`` leaves the bias out where a norm with parameters follows.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`, such as ``dict(type="IN", affine=True)`` or
            ``dict(type="GN", num_groups=8)``, or None.
        act_cfg: Activation of :mod:`mmcv.cnn`, or None.
        upsample: ``bilinear`` (trilinear in 3D), ``nearest``, or ``transposed``: a learned convolution to the
            width of the finer level, as in nnU-Net.
        align_corners: Of the interpolation; ``bilinear`` only.
        out_indices: Levels to return, 0 is the finest; the first is the main output.
        with_checkpoint: Recompute levels in the backward pass instead of storing them.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the returned levels.
        skip_channels: Channels of the levels that the way up takes over, finest first; ``widths`` unless a
            subclass sets others.
        kernel_sizes: Per level and axis, likewise ``strides``.

    Raises:
        ValueError: Fewer than two widths, an ``out_indices`` entry without a level, an even kernel, an
            unknown ``upsample``, or an argument with more or fewer entries than there are levels or axes.
    """

    def __init__(
        self,
        widths: Sequence[int],
        dims: int = 2,
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
        super().__init__(init_cfg)
        name, depth = type(self).__name__, len(widths)
        if depth < 2:
            raise ValueError(f"{name} needs at least two widths, got {tuple(widths)}")
        if not out_indices or not all(0 <= i < depth for i in out_indices):
            raise ValueError(f"out_indices must lie in 0..{depth - 1}, got {tuple(out_indices)}")
        if upsample not in UPSAMPLES:
            raise ValueError(f"upsample must be one of {UPSAMPLES}, got {upsample!r}")
        self.dims, self.out_indices, self.with_checkpoint = dims, tuple(out_indices), with_checkpoint
        self.out_channels = [widths[i] for i in out_indices]
        self.widths, self.skip_channels, self.depth = tuple(widths), tuple(widths), depth
        self.num_convs = per_level(num_convs, depth, "num_convs")
        self.kernel_sizes = checked_kernels(kernel_sizes, depth, dims)
        self.strides = checked_strides(strides, depth, dims)
        self._options: dict[str, Any] = dict(
            bias=conv_bias,
            conv_cfg=dict(type=f"Conv{dims}d"),
            norm_cfg=norm_of_dims(norm_cfg, dims),
            act_cfg=act_cfg,
        )
        self.dilated = dilated
        self._learned = upsample == "transposed"
        if not self._learned:
            mode = {("bilinear", 3): "trilinear"}.get((upsample, dims), upsample)
            self.upsample = _Upsample(mode, None if mode == "nearest" else align_corners)

    def level(
        self, index: int, channels: int, stride: int | tuple[int, ...] = 1, width: int | None = None
    ) -> nn.Sequential:
        """Return the convolutions of a level, the first with ``channels`` inputs and the stride.

        They are as wide as the level, unless ``width`` is given.
        """
        width, kernel = width or self.widths[index], self.kernel_sizes[index]
        if self.dilated:
            return nn.Sequential(DilatedBlock(channels, width, kernel, stride=stride, **self._options))
        convs = [conv_block(channels, width, kernel, stride=stride, **self._options)]
        for _ in range(self.num_convs[index] - 1):
            convs.append(conv_block(width, width, kernel, **self._options))
        return nn.Sequential(*convs)

    def add_way_up(self) -> None:
        """Add ``up1``, ``up2``... from the deepest level on; methods tap features by these names."""
        for i in range(self.depth - 1, min(self.out_indices), -1):
            fine, deep = self.widths[i - 1], self.widths[i]
            if self._learned:
                bias = self._options["bias"] is not False
                self.add_module(f"upsample{self.depth - i}", _Transposed(deep, fine, self.strides[i], bias))
                deep = fine
            self.add_module(f"up{self.depth - i}", self.level(i - 1, deep + self.skip_channels[i - 1]))

    def go_up(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the decoder levels of ``out_indices``, from the encoder levels, finest first."""
        outputs = {self.depth - 1: levels[-1]}
        for i in range(self.depth - 2, min(self.out_indices) - 1, -1):
            skip, step = levels[i], self.depth - 1 - i
            upsample = getattr(self, f"upsample{step}") if self._learned else self.upsample
            joined = torch.cat([upsample(outputs[i + 1], skip.shape[2:]), skip], 1)
            outputs[i] = self.run_level(f"up{step}", joined)
        return tuple(outputs[i] for i in self.out_indices)

    def run_level(self, name: str, features: Tensor) -> Tensor:
        """Return a level's output."""
        return run(getattr(self, name), features, self.with_checkpoint and self.training)


def checked_kernels(
    kernel_sizes: int | Sequence[int | Sequence[int]], levels: int, dims: int
) -> list[tuple[int, ...]]:
    """Return the kernel of every level and axis.

    Raises:
        ValueError: One is even, or there are more or fewer than levels or axes.
    """
    entries = per_level(kernel_sizes, levels, "kernel_sizes")
    kernels = [per_axis(kernel, dims, "an entry of kernel_sizes") for kernel in entries]
    if any(side % 2 == 0 for kernel in kernels for side in kernel):
        raise ValueError(f"kernel_sizes must be odd, so that a map keeps its size, got {kernel_sizes}")
    return kernels


def checked_strides(
    strides: Sequence[int | Sequence[int]] | None, levels: int, dims: int
) -> list[tuple[int, ...]]:
    """Return the stride into every level, per axis; None stands for 2 into all but the first.

    Raises:
        ValueError: The first is not 1, or there are more or fewer than levels or axes.
    """
    entries = [1] + [2] * (levels - 1) if strides is None else per_level(strides, levels, "strides")
    steps = [per_axis(stride, dims, "an entry of strides") for stride in entries]
    if max(steps[0]) > 1:
        raise ValueError(
            f"the first of strides leads from the image to level 0 and must be 1, got {entries[0]}: set "
            "stem_stride to begin with a smaller map"
        )
    return steps


def check_sides(
    features: Tensor, strides: Sequence[Sequence[int]], name: str, norm_cfg: dict | None = None
) -> None:
    """Raise ValueError unless features (B, C, *S) are large enough for all strides, and for the norm."""
    needed = tuple(math.prod(steps) for steps in zip(*strides, strict=True))
    if any(side < least for side, least in zip(features.shape[2:], needed, strict=True)):
        raise ValueError(
            f"an image of {tuple(features.shape[2:])} is too small for {name} of {len(strides)} levels: its "
            f"sides need {needed} pixels after the stem"
        )
    if norm_cfg is not None and norm_cfg["type"].startswith("IN") and tuple(features.shape[2:]) == needed:
        raise ValueError(
            f"an image of {needed} is too small for {name} of {len(strides)} levels with instance norm, as "
            "one pixel is left at the last: one of its sides needs twice as many pixels"
        )
