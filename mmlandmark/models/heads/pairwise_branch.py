"""Spatial configuration seen from the maps of all other landmarks by one convolution (Payer et al. 2016)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PairwiseBranch(nn.Module):
    """From the local maps of all other landmarks to a factor for each of them, by one convolution.

    The maps are averaged over blocks. The factor of a landmark is the sum of all maps but its own, each
    through a kernel of this pair of landmarks: where the others say that it lies. Linear interpolation brings
    the factors back to the size of the maps.

    Args:
        maps: Number of maps, at least two.
        kernel_size: Per axis of the array, odd.
        downsample: Side of a block, per axis of the array.
        init_std: Standard deviation of the first weights.

    Raises:
        ValueError: There is one map only.
    """

    def __init__(
        self, maps: int, kernel_size: tuple[int, ...], downsample: tuple[int, ...], init_std: float
    ) -> None:
        super().__init__()
        if maps < 2:
            raise ValueError("a single landmark has no others that could say where it is: set pairwise=False")
        self.downsample = downsample
        pool: Any = nn.AvgPool2d if len(downsample) == 2 else nn.AvgPool3d
        self.pool = pool(downsample, ceil_mode=True, count_include_pad=False)
        self.weight = nn.Parameter(torch.empty(maps * (maps - 1), *kernel_size))
        self.bias = nn.Parameter(torch.zeros(maps))
        nn.init.trunc_normal_(self.weight, std=init_std, a=-2 * init_std, b=2 * init_std)

    def kernels(self) -> Tensor:
        """Return the kernel of every pair, (K, K, *kernel_size), zero from a landmark to itself."""
        count = len(self.bias)
        others = ~torch.eye(count, dtype=torch.bool, device=self.weight.device)
        kernels = self.weight.new_zeros(count, count, *self.weight.shape[1:])
        return kernels.masked_scatter(others.view(count, count, *[1] * (kernels.ndim - 2)), self.weight)

    def forward(self, local: Tensor) -> Tensor:
        """Return factors of the shape of the local maps (B, K, *S)."""
        kernels = self.kernels()
        conv, mode = (F.conv2d, "bilinear") if local.ndim == 4 else (F.conv3d, "trilinear")
        padding: Any = tuple(side // 2 for side in kernels.shape[2:])
        factors = conv(self.pool(local), kernels, self.bias, padding=padding)
        scale: Any = tuple(map(float, self.downsample))
        factors = F.interpolate(factors, scale_factor=scale, mode=mode, align_corners=False)
        for axis, side in enumerate(local.shape[2:], start=2):  # a last block may reach over the end
            factors = factors.narrow(axis, 0, side)
        return factors
