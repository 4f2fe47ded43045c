"""Vision transformer (Dosovitskiy et al. 2021) with the parameter names of DINO (Caron et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.backbones.pretrained_backbone import PretrainedBackbone
from mmlandmark.models.log_bins import log_bins, num_log_bins
from mmlandmark.registry import MODELS

_EPS = 1e-6  # of the layer norms, as the published weights were trained


@MODELS.register_module()
class VisionTransformer(PretrainedBackbone):
    """A vision transformer whose tokens are maps of features, at strides also below the side of a patch.

    By default it is ViT-S/8. With ``stride=4``, ``out_indices=(8,)``, ``descriptor="key"`` and ``log_bins=2``
    its maps are the descriptors of FM-OSD (Miao et al. 2024, *FM-OSD: Foundation Model-Enabled One-Shot
    Detection of Anatomical Landmarks*): 6528 channels, 68 x 55 tokens of an image of 277 x 224 pixels. The
    file that DINO publishes for it:
    ``https://dl.fbaipublicfiles.com/dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth``; its images
    have ImageNet's mean and standard deviation,
    ``data_preprocessor=dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], channels=3)``.

    Patches overlap where the stride is smaller than their side. Pixels behind the last whole patch are not
    seen. Blocks that no output needs are not built.

    Args:
        patch_size: Side of a patch in pixels.
        stride: Pixels from one patch to the next; None is the side of a patch.
        width: Channels of a token, a multiple of ``num_heads``.
        depth: Number of blocks of the published network.
        num_heads: Heads of attention.
        grid: Tokens a side of the published positional embedding, which is resized by bicubic interpolation.
        descriptor: What a block gives: its ``token`` or, of its attention, the ``key``.
        log_bins: Scales of context, see :func:`mmlandmark.models.log_bins.log_bins`; 0 for none.
        out_indices: Blocks to return the descriptors of; None for the last. All have the same size.
        **kwargs: ``in_channels``, ``frozen_stages`` (0, patches and positions, to the number of blocks),
            ``with_checkpoint``, ``init_cfg``: see :class:`PretrainedBackbone`.

    Raises:
        ValueError: A number is wrong, or ``descriptor`` is unknown.
    """

    first_conv = "patch_embed.proj.weight"

    def __init__(
        self,
        patch_size: int = 8,
        stride: int | None = None,
        width: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        grid: int = 28,
        descriptor: Literal["token", "key"] = "token",
        log_bins: int = 0,
        out_indices: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        step = patch_size if stride is None else stride
        if width % num_heads or min(patch_size, step, depth, grid) < 1 or log_bins < 0:
            raise ValueError(
                "VisionTransformer needs positive sizes, log_bins of at least 0 and a width that num_heads "
                f"divides, got patch_size={patch_size}, stride={stride}, width={width}, depth={depth}, "
                f"num_heads={num_heads}, grid={grid}, log_bins={log_bins}"
            )
        if descriptor not in ("token", "key"):
            raise ValueError(f"descriptor must be 'token' or 'key', got {descriptor!r}")
        levels = [(num_log_bins(log_bins) * width, step)] * depth
        super().__init__(levels, out_indices=(depth - 1,) if out_indices is None else out_indices, **kwargs)
        self.patch_size, self.descriptor, self.log_bins = patch_size, descriptor, log_bins
        self.patch_embed = PatchEmbedding(self.in_channels, width, patch_size, step)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        count = max(self.out_indices) + 1
        blocks = [TransformerBlock(width, num_heads) for _ in range(count)]
        unused = [f"blocks.{i}." for i in range(count, depth)]
        if descriptor == "key":
            unused += [f"blocks.{count - 1}.{name}" for name in blocks[-1].keep_keys_only()]
        self.blocks = nn.ModuleList(blocks)
        self.unused_prefixes = ("norm.", "head.", *unused)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
        self.freeze()

    def stages(self) -> list[list[nn.Module]]:
        """Return the embedding of patches, then the blocks."""
        return [[self.patch_embed], *([block] for block in self.blocks)]

    def freeze(self) -> None:
        """Freeze stages; positions and the class token belong to the first."""
        super().freeze()
        for parameter in (self.cls_token, self.pos_embed):
            parameter.requires_grad_(self.frozen_stages < 0)

    def positions(self, size: Sequence[int]) -> Tensor:
        """Return the positional embedding (1, 1 + N, C) of the class token and of ``size`` (*S) tokens."""
        special, grid = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        side = round(grid.shape[1] ** 0.5)
        if tuple(size) == (side, side):
            return self.pos_embed
        maps = grid.mT.unflatten(2, (side, side))
        resized = F.interpolate(maps, size=tuple(size), mode="bicubic", align_corners=False)
        return torch.cat([special, resized.flatten(2).mT], 1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the descriptors of ``out_indices``; (B, in_channels, H, W) -> tuple of (B, C, *S).

        Raises:
            ValueError: An image is smaller than a patch.
        """
        if min(images.shape[2:]) < self.patch_size:
            raise ValueError(
                f"VisionTransformer has patches of {self.patch_size} pixels a side, the image has "
                f"{tuple(images.shape[2:])}"
            )
        maps = self.patch_embed(images)
        size = maps.shape[2:]
        tokens = torch.cat([self.cls_token.expand(len(maps), -1, -1), maps.flatten(2).mT], 1)
        tokens = tokens + self.positions(size)
        found, keys = {}, self.descriptor == "key"
        blocks: list[Any] = list(self.blocks)
        for index, block in enumerate(blocks):
            if keys and index in self.out_indices:
                found[index] = block.keys(tokens)
            if not keys or index < len(blocks) - 1:  # the last block only has keys
                tokens = self.run(block, tokens)
            if not keys:
                found[index] = tokens
        levels = (found[index][:, 1:].mT.unflatten(2, size) for index in self.out_indices)
        return tuple(log_bins(level, self.log_bins) for level in levels)

    def uncounted_macs(self, images: Tensor) -> int:
        """Return the multiply-adds of one image for keys, which do not run through a whole layer."""
        if self.descriptor != "key":
            return 0
        strides = self.patch_embed.proj.stride
        sides = [
            1 + (side - self.patch_size) // stride
            for side, stride in zip(images.shape[2:], strides, strict=True)
        ]
        width = self.pos_embed.shape[2]
        return len(set(self.out_indices)) * (1 + sides[0] * sides[1]) * width**2


class PatchEmbedding(nn.Module):
    """Patches as tokens.

    Args:
        in_channels: Of the image.
        width: Channels of a token.
        patch_size: Side of a patch in pixels.
        stride: Pixels from one patch to the next.
    """

    def __init__(self, in_channels: int, width: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch_size, stride)

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens as maps, (B, in_channels, H, W) -> (B, width, *S)."""
        return self.proj(images)


class Attention(nn.Module):
    """Attention among all tokens of an image.

    Args:
        width: Channels of a token.
        num_heads: Number of heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def keys(self, tokens: Tensor) -> Tensor:
        """Return the keys (B, N, C), head by head, of tokens (B, N, C)."""
        width = tokens.shape[-1]
        own = slice(width, 2 * width)
        return F.linear(tokens, self.qkv.weight[own], self.qkv.bias[own])

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (B, N, C)."""
        parts = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # (B, heads, N, C / heads) each
        return self.proj(F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """A perceptron of one hidden layer, four times as wide as a token.

    Args:
        width: Channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (B, N, C)."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each behind a norm and beside its input.

    Args:
        width: Channels of a token.
        num_heads: Heads of attention.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=_EPS), Attention(width, num_heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=_EPS), Perceptron(width)

    def keep_keys_only(self) -> list[str]:
        """Remove what only the block's output needs, and return how the names of its parameters begin."""
        del self.attn.proj, self.norm2, self.mlp
        return ["attn.proj.", "norm2.", "mlp."]

    def keys(self, tokens: Tensor) -> Tensor:
        """Return the keys (B, N, C) of the attention, head by head, of tokens (B, N, C)."""
        return self.attn.keys(self.norm1(tokens))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (B, N, C)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))
