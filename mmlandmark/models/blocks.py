"""Building blocks of decoders, necks and heads."""

from __future__ import annotations

import warnings
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

BATCH_NORM = dict(type="BN")
RELU = dict(type="ReLU")


def conv_block(channels: int, channels_out: int, kernel_size: int = 3, **kwargs: Any) -> ConvModule:
    """Return convolution, norm and activation; the map keeps its size, or half of it with ``stride=2``."""
    with warnings.catch_warnings():  # The published networks have biases before their norms.
        warnings.filterwarnings("ignore", "Unnecessary conv bias")
        return ConvModule(channels, channels_out, kernel_size, padding=kernel_size // 2, **kwargs)


def norm_of_dims(norm_cfg: dict | None, dims: int) -> dict | None:
    """Return a norm's config with the dimension that mmcv's names need: ``BN`` becomes ``BN2d``."""
    if norm_cfg is not None and norm_cfg["type"] in ("BN", "IN"):
        return dict(norm_cfg, type=f"{norm_cfg['type']}{dims}d")
    return norm_cfg


def upsample(features: Tensor, like: Tensor) -> Tensor:
    """Return features (B, C, H, W) at the size of others, bilinear."""
    return F.interpolate(features, size=like.shape[2:], mode="bilinear", align_corners=False)


def space_to_depth(images: Tensor, stride: int) -> Tensor:
    """Return blocks of ``stride`` pixels a side as channels; (B, C, *S) -> (B, C * stride^D, *S / stride).

    Raises:
        ValueError: A side is no multiple of ``stride``.
    """
    if stride == 1:
        return images
    if any(side % stride for side in images.shape[2:]):
        raise ValueError(
            f"an image of {tuple(images.shape[2:])} cannot be divided into blocks of {stride} pixels: set "
            f"data_preprocessor.size_divisor={stride}"
        )
    dims = images.ndim - 2
    for axis in range(2, 2 + dims):  # (B, C, S1 / s, s, S2 / s, s, ...)
        images = images.unflatten(2 * axis - 2, (-1, stride))
    order = [0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)]
    return images.permute(order).flatten(1, 1 + dims)


def start_as_pytorch(network: nn.Module) -> None:
    """Initialise the convolutions as PyTorch does, and keep mmcv from doing it again, 2.4 times wider.

    Before a norm the scale changes no output, but the same optimiser step then turns the weights less.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            module.reset_parameters()
        elif isinstance(module, ConvModule):
            # Otherwise MMEngine initialises it again, mmcv's way, if no plain module lies between.
            module.is_init = True
