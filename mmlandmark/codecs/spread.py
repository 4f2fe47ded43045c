"""How wide a map is about its point."""

from __future__ import annotations

import torch
from torch import Tensor

from mmlandmark.ops import local_window


def spread_of(maps: Tensor, points: Tensor, pixels: Tensor, radius: int) -> Tensor:
    r"""Return the covariance of maps about their points, :math:`\sum_x w_x (x - p)(x - p)^T / \sum_x w_x`.

    The weights w are the positive values in a window about the maximum; without any, all its pixels count
    alike. What a map shows further away, such as a second peak, is not part of it: the covariance of whole
    maps ranks errors worse, see ``docs/uncertainty.md``.

    Args:
        maps: (B, N, *S).
        points: (B, N, D) pixels of the map.
        pixels: (B, N, D) int64 pixels of the maxima.
        radius: Of the window, pixels.

    Returns:
        (B, N, D, D) positive semi-definite, in pixels^2 of the map, float32 or wider.

    Example:
        >>> from mmlandmark.ops import gaussian_heatmap
        >>> point = torch.tensor([[[20.0, 16.0]]])
        >>> maps = gaussian_heatmap(point, (33, 41), 2.0)
        >>> spread_of(maps, point, point.long(), radius=10)[0, 0].diag()
        tensor([4.0000, 4.0000])
    """
    dims = points.shape[-1]
    values, inside = local_window(maps, pixels, radius)
    weights = (values.to(points.dtype).clamp(min=0) * inside).flatten(2)
    nothing = ~(weights.sum(-1, keepdim=True) > 0)
    weights = torch.where(nothing, inside.flatten(2).to(weights.dtype), weights)
    steps = torch.arange(-radius, radius + 1, device=maps.device, dtype=points.dtype)
    grid = torch.stack(torch.meshgrid(*[steps] * dims, indexing="ij")[::-1], -1).flatten(0, -2)
    offsets = grid + (pixels - points)[:, :, None]  # (B, N, pixels, D)
    moments = (weights[..., None] * offsets).mT @ offsets
    return moments / weights.sum(-1)[..., None, None]
