"""ResNet (He et al. 2016) with the parameter names of torchvision."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmlandmark.models.backbones.pretrained_backbone import PretrainedBackbone
from mmlandmark.models.backbones.residual import BasicBlock, Bottleneck, start_residual
from mmlandmark.registry import MODELS

ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@MODELS.register_module()
class ResNet(PretrainedBackbone):
    """ResNet without its classifier.

    Level 0 is the stem's convolution, before its norm (stride 2), as FARNet takes it (Ao and Wu 2023, section
    3.1); levels 1 to 4 are the stages (4, 8, 16, 32).

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: Of the stem, 64 in the published networks.
        pool: Whether the stem ends with its pooling. Without it all stages are twice as large, at strides 2,
            4, 8 and 16, as in the 2D version of SAM.
        **kwargs: ``in_channels``, ``out_indices``, ``frozen_stages`` (0 to 4), ``norm_eval``,
            ``with_checkpoint``, ``init_cfg``: see :class:`PretrainedBackbone`.
    """

    unused_prefixes: tuple[str, ...] = ("fc.",)
    first_conv = "conv1.weight"

    def __init__(self, depth: int = 50, base_channels: int = 64, pool: bool = True, **kwargs: Any) -> None:
        if depth not in ARCHITECTURES:
            raise ValueError(f"ResNet depth must be one of {sorted(ARCHITECTURES)}, got {depth}")
        block, counts = ARCHITECTURES[depth]
        widths = [base_channels * 2**i for i in range(4)]
        levels = [
            (base_channels, 2),
            *((w * block.expansion, (2 + 2 * pool) * 2**i) for i, w in enumerate(widths)),
        ]
        super().__init__(levels, **kwargs)
        self.conv1 = nn.Conv2d(self.in_channels, base_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if pool else nn.Identity()
        channels, self.depth = base_channels, max(self.out_indices)
        for i, (width, count) in enumerate(zip(widths[: self.depth], counts, strict=False)):
            stage = [block(channels, width, stride=1 if i == 0 else 2)]
            channels = width * block.expansion
            stage += [block(channels, width) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
        self.unused_prefixes += tuple(f"layer{i}." for i in range(self.depth + 1, 5))
        start_residual(self)
        self.freeze()

    def stages(self) -> list[list[nn.Module]]:
        """Return the stem and the stages in use."""
        return [[self.conv1, self.bn1], *[[getattr(self, f"layer{i + 1}")] for i in range(self.depth)]]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the levels of ``out_indices``; (B, in_channels, H, W) -> tuple of (B, C, H / s, W / s)."""
        levels = [self.conv1(images)]
        features = self.maxpool(self.relu(self.bn1(levels[0])))
        for i in range(self.depth):
            features = self.run(getattr(self, f"layer{i + 1}"), features)
            levels.append(features)
        return tuple(levels[i] for i in self.out_indices)
