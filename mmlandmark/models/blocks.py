"""Building blocks of decoders, necks and heads."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_activation_layer, build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

BATCH_NORM = dict(type="BN")
RELU = dict(type="ReLU")


def conv_block(
    channels: int, channels_out: int, kernel_size: int | tuple[int, ...] = 3, **kwargs: Any
) -> ConvModule:
    """Return convolution, norm and activation; the map keeps its size, or half of it with ``stride=2``.

    Args:
        channels: Of the input.
        channels_out: Of the output.
        kernel_size: Odd; one for all axes, or one per axis of the array.
        **kwargs: See :class:`mmcv.cnn.ConvModule`; ``dilation`` is one number.
    """
    reach = kwargs.get("dilation", 1)
    sides = (kernel_size,) if isinstance(kernel_size, int) else kernel_size
    paddings = tuple(side // 2 * reach for side in sides)
    padding = paddings[0] if isinstance(kernel_size, int) else paddings
    with warnings.catch_warnings():  # The published networks have biases before their norms.
        warnings.filterwarnings("ignore", "Unnecessary conv bias")
        block = ConvModule(channels, channels_out, kernel_size, padding=padding, **kwargs)
    if block.with_norm and block.norm_name == "in":
        # mmcv's name of it is a keyword of Python: exporters, which write programs, stumble over its weights.
        norm, block.norm_name = block.norm, "instance_norm"
        delattr(block, "in")
        block.add_module("instance_norm", norm)
    return block


def he_block(
    channels: int,
    channels_out: int,
    kernel_size: tuple[int, ...],
    padding_mode: str = "zeros",
    norm_cfg: dict | None = None,
    act_cfg: dict | None = RELU,
) -> nn.Sequential:
    """Return convolution, norm and activation that keep the size of a map, started as in He et al. 2015.

    Args:
        channels: Of the input.
        channels_out: Of the output.
        kernel_size: Odd, per axis of the array.
        padding_mode: ``zeros``, ``reflect`` or ``replicate``; mmcv's blocks know only zeros in 3D.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`, or None.
        act_cfg: Activation of :mod:`mmcv.cnn`, or None.
    """
    dims = len(kernel_size)
    kind: Any = nn.Conv2d if dims == 2 else nn.Conv3d
    padding = tuple(k // 2 for k in kernel_size)
    conv = kind(channels, channels_out, kernel_size, padding=padding, padding_mode=padding_mode)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)
    block = nn.Sequential(conv)
    if norm_cfg is not None:
        block.append(build_norm_layer(norm_of_dims(norm_cfg, dims), channels_out)[1])
    if act_cfg is not None:
        block.append(build_activation_layer(act_cfg))
    return block


def per_axis(value: int | Sequence[int], dims: int, name: str) -> tuple[int, ...]:
    """Return one number per axis of the array from one for all, or from one per axis.

    Args:
        value: One number, or ``dims`` of them in array order (*S).
        dims: 2 or 3.
        name: Of the argument, for the error.

    Raises:
        ValueError: There is another number of them, or one is below 1.
    """
    values = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(values) != dims or not all(isinstance(v, int) and v >= 1 for v in values):
        raise ValueError(f"{name} must be a number from 1 on, or {dims} of them in array order, got {value}")
    return values


def per_level(value: Any, levels: int, name: str) -> list:
    """Return one entry per level from a number for all, or from one entry per level.

    Raises:
        ValueError: There is another number of entries.
    """
    entries = [value] * levels if isinstance(value, int) else list(value)
    if len(entries) != levels:
        raise ValueError(f"{name} needs one entry for each of the {levels} levels, got {value}")
    return entries


def norm_of_dims(norm_cfg: dict | None, dims: int) -> dict | None:
    """Return a norm's config with the dimension that mmcv's names need: ``BN`` becomes ``BN2d``."""
    if norm_cfg is not None and norm_cfg["type"] in ("BN", "IN"):
        return dict(norm_cfg, type=f"{norm_cfg['type']}{dims}d")
    return norm_cfg


def upsample(features: Tensor, like: Tensor) -> Tensor:
    """Return features (B, C, *S) at the size of others, by linear interpolation."""
    mode = "bilinear" if features.ndim == 4 else "trilinear"
    return F.interpolate(features, size=like.shape[2:], mode=mode, align_corners=False)


def enlarged(maps: Tensor, factor: int) -> Tensor:
    """Return maps (B, C, *S) at ``factor`` times their size, by linear interpolation.

    A 1x1 convolution gives the same before as after, so it is cheaper before.
    """
    if factor == 1:
        return maps
    mode = "bilinear" if maps.ndim == 4 else "trilinear"
    return F.interpolate(maps, scale_factor=factor, mode=mode, align_corners=False)


def space_to_depth(images: Tensor, stride: int | Sequence[int]) -> Tensor:
    """Return blocks of pixels as channels; (B, C, *S) -> (B, C * block, *S / stride).

    Args:
        images: (B, C, *S).
        stride: Side of a block in pixels: one number, or one per axis of the array.

    Raises:
        ValueError: A side is no multiple of its stride.
    """
    dims = images.ndim - 2
    strides = per_axis(stride, dims, "stride")
    if max(strides) == 1:
        return images
    if any(side % step for side, step in zip(images.shape[2:], strides, strict=True)):
        raise ValueError(
            f"an image of {tuple(images.shape[2:])} cannot be divided into blocks of {stride} pixels: set "
            f"data_preprocessor.size_divisor={math.lcm(*strides)}"
        )
    for axis, step in enumerate(strides):  # (B, C, S1 / s, s, S2 / s, s, ...)
        images = images.unflatten(2 * axis + 2, (-1, step))
    order = [0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)]
    return images.permute(order).flatten(1, 1 + dims)


def start_as_pytorch(network: nn.Module) -> None:
    """Initialise the convolutions as PyTorch does, and keep mmcv from doing it again, 2.4 times wider.

    Before a norm the scale changes no output, but the same optimiser step then turns the weights less.
    """
    for module in network.modules():
        if isinstance(module, _ConvNd):
            module.reset_parameters()
        elif isinstance(module, ConvModule):
            # Otherwise MMEngine initialises it again, mmcv's way, if no plain module lies between.
            module.is_init = True
