"""A codec: from points to what a loss compares maps with, and from maps to points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.codecs import BaseCodec, HeatmapTarget
from mmlandmark.registry import CODECS
from mmlandmark.structures import Detection, apply_matrix, invert_matrix, resize_matrix


@CODECS.register_module()
class CentroidCodec(BaseCodec):
    """Gaussian maps, decoded by the centroid of all that is positive.

    Args:
        sigma: Width of a peak in pixels of the map.
    """

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def encode(
        self,
        landmarks: Tensor,
        mask: Tensor,
        weights: Tensor,
        input_size: Sequence[int],
        map_size: Sequence[int],
    ) -> HeatmapTarget:
        """Return the target of maps of ``map_size``; see the base class."""
        moved = apply_matrix(resize_matrix(input_size, map_size), landmarks)
        moved = torch.where(mask[..., None], moved, 0)
        return HeatmapTarget(moved, mask, weights * mask, tuple(map_size), self.sigma)

    def decode(self, maps: Tensor, input_size: Sequence[int], spread: bool = False) -> Detection:
        """Return the centroid of every map (B, K, H, W) in pixels of the input, and its peak as the score."""
        height, width = maps.shape[2:]
        weights = maps.clamp(min=0) + 1e-6
        x = (weights.sum(2) * torch.arange(width, device=maps.device)).sum(2)
        y = (weights.sum(3) * torch.arange(height, device=maps.device)).sum(2)
        points = torch.stack([x, y], dim=-1) / weights.sum((2, 3))[..., None]
        detection = Detection(points, maps.amax((2, 3)))
        return detection.mapped(invert_matrix(resize_matrix(input_size, (height, width))))
