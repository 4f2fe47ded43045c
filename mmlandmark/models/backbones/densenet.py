"""DenseNet (Huang et al. 2017) with the parameter names of torchvision."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from mmlandmark.models.backbones.pretrained_backbone import PretrainedBackbone
from mmlandmark.registry import MODELS

# Growth rate, layers per block, channels of the stem.
ARCHITECTURES = {
    121: (32, (6, 12, 24, 16), 64),
    169: (32, (6, 12, 32, 32), 64),
}
_OLD_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12])\.")


def renamed_densenet(name: str) -> str:
    """Rename parameters of the first published files: ``norm.1`` is ``norm1``."""
    return _OLD_NAME.sub(r"\1\2.", name)


class _DenseLayer(nn.Module):
    """Norm, ReLU and a convolution, twice; the block concatenates the result with the input."""

    def __init__(self, channels: int, growth_rate: int, bottleneck: int) -> None:
        super().__init__()
        width = bottleneck * growth_rate
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, growth_rate, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(features))))))


class _DenseBlock(nn.ModuleDict):
    def __init__(self, layers: int, channels: int, growth_rate: int, bottleneck: int) -> None:
        super().__init__()
        for i in range(layers):
            layer = _DenseLayer(channels + i * growth_rate, growth_rate, bottleneck)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, features: Tensor) -> Tensor:
        outputs = [features]
        for layer in self.values():
            outputs.append(layer(torch.cat(outputs, 1)))
        return torch.cat(outputs, 1)


def _transition(channels: int, channels_out: int) -> nn.Sequential:
    layers = OrderedDict(
        norm=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
        conv=nn.Conv2d(channels, channels_out, 1, bias=False),
        pool=nn.AvgPool2d(2, 2),
    )
    return nn.Sequential(layers)


@MODELS.register_module()
class DenseNet(PretrainedBackbone):
    """DenseNet without its classifier, with the taps of FARNet (Ao and Wu 2023, fig. 2).

    Level 0 is the first convolution, before its norm (stride 2); levels 1 to 3 are the dense blocks (4, 8,
    16); level 4 is the last block after its norm, without ReLU (32).

    Args:
        depth: 121 or 169.
        growth_rate: Channels that every layer adds; None is that of the depth. There are no published weights
            for other values, likewise for those below.
        block_layers: Layers per block; None is that of the depth.
        stem_channels: Of the first convolution; None is that of the depth.
        bottleneck: Width of a layer's first convolution, in growth rates.
        **kwargs: ``in_channels``, ``out_indices``, ``frozen_stages`` (0 to 4), ``norm_eval``,
            ``with_checkpoint``, ``init_cfg``: see :class:`PretrainedBackbone`.
    """

    unused_prefixes: tuple[str, ...] = ("classifier.",)
    first_conv = "features.conv0.weight"

    def __init__(
        self,
        depth: int = 121,
        growth_rate: int | None = None,
        block_layers: tuple[int, ...] | None = None,
        stem_channels: int | None = None,
        bottleneck: int = 4,
        **kwargs: Any,
    ) -> None:
        if depth not in ARCHITECTURES:
            raise ValueError(f"DenseNet depth must be one of {sorted(ARCHITECTURES)}, got {depth}")
        growth, layers, stem = ARCHITECTURES[depth]
        growth, stem = growth_rate or growth, stem_channels or stem
        counts = tuple(block_layers or layers)
        blocks, channels = [], stem
        for i, count in enumerate(counts):
            end = channels + count * growth
            blocks.append((channels, end))
            channels = end // 2 if i < len(counts) - 1 else end
        super().__init__([(stem, 2), *((end, 4 * 2**i) for i, (_, end) in enumerate(blocks))], **kwargs)
        self.features = nn.Sequential(
            OrderedDict(
                conv0=nn.Conv2d(self.in_channels, stem, 7, stride=2, padding=3, bias=False),
                norm0=nn.BatchNorm2d(stem),
                relu0=nn.ReLU(inplace=True),
                pool0=nn.MaxPool2d(3, stride=2, padding=1),
            )
        )
        self.depth, last = max(self.out_indices), len(blocks)
        for i, (start, end) in enumerate(blocks[: self.depth]):
            block = _DenseBlock(counts[i], start, growth, bottleneck)
            self.features.add_module(f"denseblock{i + 1}", block)
            if i < self.depth - 1:
                self.features.add_module(f"transition{i + 1}", _transition(end, end // 2))
        if self.depth == last:
            self.features.add_module("norm5", nn.BatchNorm2d(blocks[-1][1]))
        else:
            unused = [f"denseblock{i}" for i in range(self.depth + 1, last + 1)] + ["norm5"]
            unused += [f"transition{i}" for i in range(max(self.depth, 1), last)]
            self.unused_prefixes += tuple(f"features.{name}." for name in unused)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        self.freeze()

    def rename(self, name: str) -> str:
        """Return our name of a published parameter."""
        return renamed_densenet(name)

    def stages(self) -> list[list[nn.Module]]:
        """Return the stem, and every block in use with the transition or norm after it."""
        parts = dict(self.features.named_children())
        blocks = [[parts[f"denseblock{i + 1}"]] for i in range(self.depth)]
        for i, block in enumerate(blocks):
            block += [parts[name] for name in (f"transition{i + 1}", f"norm{i + 2}") if name in parts]
        return [[parts["conv0"], parts["norm0"]], *blocks]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the levels of ``out_indices``; (B, in_channels, H, W) -> tuple of (B, C, H / s, W / s)."""
        parts: Any = self.features
        # ReLU works in place: level 0 is returned, so it must not write into that.
        levels = [parts.conv0(images)]
        features = parts.pool0(parts.relu0(parts.norm0(levels[0])))
        for i in range(1, self.depth + 1):
            features = self.run(getattr(parts, f"denseblock{i}"), features)
            levels.append(parts.norm5(features) if hasattr(parts, "norm5") and i == self.depth else features)
            if i < self.depth:
                features = getattr(parts, f"transition{i}")(features)
        return tuple(levels[i] for i in self.out_indices)
