"""What decoders, necks and heads are made of."""

from __future__ import annotations

import warnings
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

BATCH_NORM = dict(type="BN")
RELU = dict(type="ReLU")


def conv_block(channels: int, channels_out: int, kernel_size: int = 3, **kwargs: Any) -> ConvModule:
    """Return convolution, norm and activation; the map keeps its size, or with ``stride=2`` half of it."""
    with warnings.catch_warnings():  # The published networks have biases before their norms.
        warnings.filterwarnings("ignore", "Unnecessary conv bias")
        return ConvModule(channels, channels_out, kernel_size, padding=kernel_size // 2, **kwargs)


def upsample(features: Tensor, like: Tensor) -> Tensor:
    """Return features (B, C, H, W) at the size of others, bilinear."""
    return F.interpolate(features, size=like.shape[2:], mode="bilinear", align_corners=False)


def start_as_pytorch(network: nn.Module) -> None:
    """Start the convolutions as PyTorch does, now and for good; mmcv starts them 2.4 times wider.

    Behind a norm the scale changes no output, but the same step of the optimiser then turns the weights less.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            module.reset_parameters()
        elif isinstance(module, ConvModule):
            module.is_init = (
                True  # Else MMEngine starts it again, mmcv's way, if no plain module lies between.
            )
