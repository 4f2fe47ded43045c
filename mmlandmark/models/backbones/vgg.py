"""VGG (Simonyan and Zisserman 2015) with the parameter names of torchvision."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmlandmark.models.backbones.pretrained_backbone import PretrainedBackbone
from mmlandmark.registry import MODELS

# Convolutions per block.
ARCHITECTURES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


@MODELS.register_module()
class VGG(PretrainedBackbone):
    """VGG without its classifier; the levels are its five blocks, at strides 1, 2, 4, 8 and 16.

    Args:
        depth: 16 or 19.
        batch_norm: With batch norm behind every convolution.
        widths: Channels per block; there are published weights only for the default.
        **kwargs: ``in_channels``, ``out_indices``, ``frozen_stages`` (0, the first block, to 4),
            ``norm_eval``, ``with_checkpoint``, ``init_cfg``: see :class:`PretrainedBackbone`.
    """

    unused_prefixes: tuple[str, ...] = ("classifier.",)
    first_conv = "features.0.weight"

    def __init__(
        self,
        depth: int = 16,
        batch_norm: bool = False,
        widths: tuple[int, ...] = WIDTHS,
        **kwargs: Any,
    ) -> None:
        if depth not in ARCHITECTURES:
            raise ValueError(f"VGG depth must be one of {sorted(ARCHITECTURES)}, got {depth}")
        if len(widths) != 5:
            raise ValueError(f"VGG has five blocks, got widths {tuple(widths)}")
        super().__init__([(width, 2**i) for i, width in enumerate(widths)], **kwargs)
        layers: list[nn.Module] = []
        self.ends: list[int] = []  # index after the last layer of every block; its pooling follows
        channels = self.in_channels
        for width, count in zip(widths, ARCHITECTURES[depth], strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU(inplace=True))
                channels = width
            self.ends.append(len(layers))
            layers.append(nn.MaxPool2d(2, 2))
        self.ends = self.ends[: max(self.out_indices) + 1]
        self.features = nn.Sequential(*layers[: self.ends[-1]])
        self.unused_prefixes += tuple(f"features.{i}." for i in range(self.ends[-1], len(layers)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.freeze()

    def stages(self) -> list[list[nn.Module]]:
        """Return the blocks in use, each but the first with the pooling before it."""
        return [list(block) for block in self._blocks()]

    def _blocks(self) -> list[nn.Sequential]:
        starts = [0, *self.ends[:-1]]
        layers = list(self.features)
        return [nn.Sequential(*layers[start:end]) for start, end in zip(starts, self.ends, strict=True)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the levels of ``out_indices``; (B, in_channels, H, W) -> tuple of (B, C, H / s, W / s)."""
        levels = []
        features = images
        for block in self._blocks():
            features = self.run(block, features)
            levels.append(features)
        return tuple(levels[i] for i in self.out_indices)
