"""HRNet (Sun et al. 2019) with the parameter names of the official release."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmlandmark.models.backbones.pretrained_backbone import PretrainedBackbone
from mmlandmark.models.backbones.residual import BasicBlock, Bottleneck, start_residual
from mmlandmark.registry import MODELS


class _Fusion(nn.ModuleList):
    """Adds all branches in the shape of one; ``self[j]`` brings branch j there."""

    def __init__(self, widths: list[int], target: int) -> None:
        super().__init__()
        for source, width in enumerate(widths):
            if source == target:
                self.append(nn.Identity())
            elif source > target:
                self.append(
                    nn.Sequential(
                        nn.Conv2d(width, widths[target], 1, bias=False),
                        nn.BatchNorm2d(widths[target]),
                        nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
                    )
                )
            else:
                steps = []
                for step in range(target - source):
                    last = step == target - source - 1
                    out = widths[target] if last else width
                    layers = [nn.Conv2d(width, out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out)]
                    steps.append(nn.Sequential(*layers, *([] if last else [nn.ReLU(inplace=True)])))
                self.append(nn.Sequential(*steps))

    def forward(self, branches: list[Tensor]) -> Tensor:
        first, *others = (layer(branch) for layer, branch in zip(self, branches, strict=True))
        for other in others:
            first = first + other
        return first


class _Module(nn.Module):
    """Four residual blocks per branch, then an exchange between all branches."""

    def __init__(self, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*[BasicBlock(width, width) for _ in range(4)]) for width in widths
        )
        self.fuse_layers = nn.ModuleList(_Fusion(widths, target) for target in range(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        branches = [blocks(branch) for blocks, branch in zip(self.branches, branches, strict=True)]
        return [None if fuse is None else self.relu(fuse(branches)) for fuse in self.fuse_layers]


class _Transition(nn.ModuleList):
    """From the branches of one stage to those of the next, one more."""

    def __init__(self, before: list[int], after: list[int]) -> None:
        super().__init__()
        for i, width in enumerate(after):
            if i < len(before):
                self.append(nn.Identity() if before[i] == width else _step(before[i], width, 1))
            else:
                self.append(nn.Sequential(_step(before[-1], width, 2)))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        last = len(branches) - 1
        return [layer(branches[min(i, last)]) for i, layer in enumerate(self)]


def _step(channels: int, channels_out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


@MODELS.register_module()
class HRNet(PretrainedBackbone):
    """HRNet: parallel branches of several resolutions, the finest at a quarter of the image.

    Levels 0 to 3 are the branches of the last stage, at strides 4, 8, 16 and 32, of ``width`` times 1, 2, 4
    and 8 channels.

    Args:
        width: 18 or 32 in the published networks.
        modules: Modules of stages 2, 3 and 4.
        **kwargs: ``in_channels``, ``out_indices``, ``frozen_stages`` (0 to 4), ``norm_eval``,
            ``with_checkpoint``, ``init_cfg``: see :class:`PretrainedBackbone`. With ``out_indices=(0,)`` the
            last module returns the finest branch alone, as for poses.
    """

    unused_prefixes: tuple[str, ...] = (
        "classifier.",
        "incre_modules.",
        "downsamp_modules.",
        "final_layer.",
        "head.",
        "last_layer.",
    )
    first_conv = "conv1.weight"

    def __init__(self, width: int = 18, modules: tuple[int, int, int] = (1, 4, 3), **kwargs: Any) -> None:
        widths = [width * 2**i for i in range(4)]
        super().__init__([(w, 4 * 2**i) for i, w in enumerate(widths)], **kwargs)
        self.conv1 = nn.Conv2d(self.in_channels, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *[Bottleneck(256, 64) for _ in range(3)])
        before = [256]
        for stage, count in enumerate(modules, start=2):
            branches = widths[:stage]
            self.add_module(f"transition{stage - 1}", _Transition(before, branches))
            outputs = [stage] * count
            if stage == 4:
                outputs[-1] = max(self.out_indices) + 1
            self.add_module(f"stage{stage}", nn.Sequential(*[_Module(branches, n) for n in outputs]))
            before = branches
        unused = sorted(set(range(4)) - set(self.out_indices))
        self.unused_prefixes += tuple(f"stage4.{modules[-1] - 1}.fuse_layers.{i}." for i in unused)
        for i in unused:
            if i < max(self.out_indices):
                self.stage4[-1].fuse_layers[i] = None
        start_residual(self)
        self.freeze()

    def stages(self) -> list[list[nn.Module]]:
        """Return the stem, and every stage with the transition before it."""
        later = [[getattr(self, f"transition{i - 1}"), getattr(self, f"stage{i}")] for i in (2, 3, 4)]
        return [[self.conv1, self.bn1, self.conv2, self.bn2], [self.layer1], *later]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the levels of ``out_indices``; (B, in_channels, H, W) -> tuple of (B, C, H / s, W / s).

        Raises:
            ValueError: A side of the image is no multiple of 32.
        """
        if any(side % 32 for side in images.shape[2:]):
            raise ValueError(
                f"HRNet takes images with sides of 32 n pixels, got {tuple(images.shape[2:])}: set "
                "data_preprocessor.size_divisor=32"
            )
        features = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(images))))))
        branches: Any = [self.run(self.layer1, features)]
        for stage in (2, 3, 4):
            branches = getattr(self, f"transition{stage - 1}")(branches)
            for module in getattr(self, f"stage{stage}"):
                branches = self.run(module, branches)
        return tuple(branches[i] for i in self.out_indices)
