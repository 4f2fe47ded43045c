"""One-stage hourglass network (Newell et al. 2016), in two and three dimensions."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import conv_block, norm_of_dims, start_as_pytorch
from mmlandmark.models.recompute import run
from mmlandmark.models.unet_levels import check_sides
from mmlandmark.registry import MODELS

NORM, ACT = dict(type="BN"), dict(type="ReLU")


class PreactBottleneck(nn.Module):
    """Three convolutions, each behind a norm and an activation, and a shortcut.

    Args:
        channels: Of the input.
        channels_out: Of the output, twice the width of the convolutions between.
        **options: ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of :class:`mmcv.cnn.ConvModule`.
    """

    def __init__(self, channels: int, channels_out: int, **options: Any) -> None:
        super().__init__()
        width, order = (
            channels_out // 2,
            dict(options, order=("norm", "act", "conv"), bias=True, inplace=False),
        )
        self.convs = nn.Sequential(
            conv_block(channels, width, 1, **order),
            conv_block(width, width, 3, **order),
            conv_block(width, channels_out, 1, **order),
        )
        plain = dict(options, norm_cfg=None, act_cfg=None)
        same = channels == channels_out
        self.shortcut = nn.Identity() if same else conv_block(channels, channels_out, 1, **plain)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels_out, *S) from (B, channels, *S)."""
        return self.shortcut(features) + self.convs(features)


@MODELS.register_module()
class Hourglass(BaseModule):
    """Hourglass network with one stage, as published code for poses has it.

    A strided convolution, residual blocks and max-pooling bring the image to a quarter of its size. There the
    hourglass goes down ``depth`` times by max-pooling and up again by nearest neighbours; at every size a
    residual block on the skip connection is added. With the defaults, a colour image and 16 maps by a
    1x1 convolution it has 3,586,960 parameters.

    ``head=dict(upsample_to=4)`` brings the maps to the size of the image, as Chen et al. have them in
    shape-regulated self-training (section 3.3.1).

    Args:
        in_channels: Of the image.
        width: Channels of the hourglass, a multiple of 8.
        depth: How often it halves the map.
        num_blocks: Residual blocks at every place.
        dims: 2 or 3.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`.
        act_cfg: Activation of :mod:`mmcv.cnn`.
        with_checkpoint: Recompute blocks in the backward pass instead of storing them.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the one level that is returned, in a list.

    Raises:
        ValueError: ``width`` is no multiple of 8, or ``depth`` or ``num_blocks`` is below 1.
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 256,
        depth: int = 4,
        num_blocks: int = 1,
        dims: int = 2,
        norm_cfg: dict | None = NORM,
        act_cfg: dict | None = ACT,
        with_checkpoint: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if width % 8 or min(depth, num_blocks, width) < 1:
            raise ValueError(
                "Hourglass needs a width that is a multiple of 8 and at least one level and block, got width "
                f"{width}, depth {depth} and num_blocks {num_blocks}"
            )
        self.dims, self.depth, self.with_checkpoint, self.out_channels = dims, depth, with_checkpoint, [width]
        options: dict[str, Any] = dict(
            conv_cfg=dict(type=f"Conv{dims}d"), norm_cfg=norm_of_dims(norm_cfg, dims), act_cfg=act_cfg
        )

        def blocks(channels: int, channels_out: int) -> nn.Sequential:
            widths = [channels] + [channels_out] * num_blocks
            return nn.Sequential(
                *(PreactBottleneck(before, channels_out, **options) for before in widths[:-1])
            )

        self.stem = conv_block(in_channels, width // 4, 7, stride=2, bias=True, **options)
        self.before = PreactBottleneck(width // 4, width // 2, **options)
        self.entry = nn.Sequential(
            PreactBottleneck(width // 2, width, **options), PreactBottleneck(width, width, **options)
        )
        pool: Any = nn.MaxPool2d if dims == 2 else nn.MaxPool3d
        self.pool = pool(2)
        # Named as those of UNet, finest first: methods tap features by these names.
        for i in range(1, depth + 1):
            self.add_module(f"skip{i}", blocks(width, width))
            self.add_module(f"down{i}", blocks(width, width))
            self.add_module(f"up{depth + 1 - i}", blocks(width, width))
        self.bottom = blocks(width, width)
        self.exit = nn.Sequential(blocks(width, width), conv_block(width, width, 1, bias=True, **options))
        start_as_pytorch(self)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return features (B, width, *S / 4) of images (B, in_channels, *S).

        Raises:
            ValueError: A side of the image is shorter than ``4 * 2^depth``.
        """
        check_sides(images, [(2,) * self.dims] * (self.depth + 2), "an Hourglass")
        features = self._run("entry", self.pool(self._run("before", self.stem(images))))
        skips = []
        for i in range(1, self.depth + 1):
            skips.append(self._run(f"skip{i}", features))
            features = self._run(f"down{i}", self.pool(features))
        features = self._run("bottom", features)
        for i, skip in enumerate(reversed(skips), start=1):
            features = self._run(f"up{i}", features)
            features = skip + F.interpolate(features, size=skip.shape[2:], mode="nearest")
        return (self._run("exit", features),)

    def _run(self, name: str, features: Tensor) -> Tensor:
        return run(getattr(self, name), features, self.with_checkpoint and self.training)
