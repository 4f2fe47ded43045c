"""Levels of convolutions and the way up over them, shared by U-Net and its decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import conv_block, norm_of_dims
from mmlandmark.models.recompute import run

INSTANCE_NORM = dict(type="IN")
LEAKY_RELU = dict(type="LeakyReLU", negative_slope=0.01)


class _Upsample(nn.Module):
    """Resize features to the size of their skip connection."""

    def __init__(self, mode: str, align_corners: bool | None) -> None:
        super().__init__()
        self.mode, self.align_corners = mode, align_corners

    def forward(self, features: Tensor, size: torch.Size) -> Tensor:
        return F.interpolate(features, size=size, mode=self.mode, align_corners=self.align_corners)


class UNetLevels(BaseModule):
    """Levels of convolutions, and the way up over them.

    Args:
        widths: Channels per level, finest first.
        dims: 2 or 3.
        num_convs: Convolutions per level.
        conv_bias: ``auto`` leaves the bias out where a norm with parameters follows.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`, or None.
        act_cfg: Activation of :mod:`mmcv.cnn`, or None.
        upsample: ``bilinear`` (trilinear in 3D) or ``nearest``.
        align_corners: Of the interpolation; ignored for ``nearest``.
        out_indices: Levels to return, 0 is the finest; the first is the main output.
        with_checkpoint: Recompute levels in the backward pass instead of storing them.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the returned levels.

    Raises:
        ValueError: Fewer than two widths, or an ``out_indices`` entry without a level.
    """

    def __init__(
        self,
        widths: Sequence[int],
        dims: int = 2,
        num_convs: int = 2,
        conv_bias: bool | str = True,
        norm_cfg: dict | None = INSTANCE_NORM,
        act_cfg: dict | None = LEAKY_RELU,
        upsample: str = "bilinear",
        align_corners: bool = True,
        out_indices: Sequence[int] = (0,),
        with_checkpoint: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        if len(widths) < 2:
            raise ValueError(f"{name} needs at least two widths, got {tuple(widths)}")
        if not out_indices or not all(0 <= i < len(widths) for i in out_indices):
            raise ValueError(f"out_indices must lie in 0..{len(widths) - 1}, got {tuple(out_indices)}")
        self.dims, self.out_indices, self.with_checkpoint = dims, tuple(out_indices), with_checkpoint
        self.out_channels = [widths[i] for i in out_indices]
        self.widths, self.depth, self.num_convs = tuple(widths), len(widths), num_convs
        self._options: dict[str, Any] = dict(
            bias=conv_bias,
            conv_cfg=dict(type=f"Conv{dims}d"),
            norm_cfg=norm_of_dims(norm_cfg, dims),
            act_cfg=act_cfg,
        )
        mode = {("bilinear", 3): "trilinear"}.get((upsample, dims), upsample)
        self.upsample = _Upsample(mode, None if mode == "nearest" else align_corners)

    def level(self, channels: int, channels_out: int) -> nn.Sequential:
        """Return the convolutions of one level."""
        inside = [channels] + [channels_out] * (self.num_convs - 1)
        return nn.Sequential(*[conv_block(c, channels_out, **self._options) for c in inside])

    def add_way_up(self) -> None:
        """Add ``up1``, ``up2``... from the deepest level on; methods tap features by these names."""
        for i in range(self.depth - 1, min(self.out_indices), -1):
            fine, deep = self.widths[i - 1], self.widths[i]
            self.add_module(f"up{self.depth - i}", self.level(deep + fine, fine))

    def go_up(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the decoder levels of ``out_indices``, from the encoder levels, finest first."""
        outputs = {self.depth - 1: levels[-1]}
        for i in range(self.depth - 2, min(self.out_indices) - 1, -1):
            skip = levels[i]
            joined = torch.cat([self.upsample(outputs[i + 1], skip.shape[2:]), skip], 1)
            outputs[i] = self.run_level(f"up{self.depth - 1 - i}", joined)
        return tuple(outputs[i] for i in self.out_indices)

    def run_level(self, name: str, features: Tensor) -> Tensor:
        """Return a level's output."""
        return run(getattr(self, name), features, self.with_checkpoint and self.training)
