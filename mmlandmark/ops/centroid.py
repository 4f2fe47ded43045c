"""The centre of mass of whole heatmaps."""

from __future__ import annotations

import torch
from torch import Tensor

from mmlandmark.ops.arguments import check_maps, sum_type


def centroid(heatmaps: Tensor) -> Tensor:
    r"""Return the mean position of every map's positive mass, :math:`\sum_p H(p) p / \sum_p H(p)`.

    The coordinate that shape-regulated self-training (Chen et al., eq. 2) reads off an activated map. Every
    pixel counts: a background of 0.01 in 800 x 640 pixels weighs as much as a disc of height 1 with a radius
    of 40 pixels, and pulls the result to the centre of the map.

    Args:
        heatmaps: (B, K, *S); negative values count as zero.

    Returns:
        (B, K, D) pixels of the map, (x, y[, z]), float32 or wider; NaN for a map without positive values.

    Example:
        >>> centroid(torch.tensor([[[[0.0, 1.0, 0.0, 3.0]]]]))
        tensor([[[2.5000, 0.0000]]])
    """
    profiles = marginals(heatmaps.clamp(min=0))
    moments = [p @ torch.arange(p.shape[-1], dtype=p.dtype, device=p.device) for p in profiles]
    return torch.stack(moments, -1) / profiles[0].sum(-1, keepdim=True)


def marginals(heatmaps: Tensor) -> list[Tensor]:
    """Return the sums of every map over all axes but one, D tensors (B, K, side), along x, y[, z].

    Whatever depends on one coordinate alone can be summed over a map with them.

    Args:
        heatmaps: (B, K, *S).

    Example:
        >>> [line.tolist() for line in marginals(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))]
        [[[[4.0, 6.0]]], [[[3.0, 7.0]]]]
    """
    check_maps(heatmaps, "heatmaps")
    axes, kind = range(2, heatmaps.ndim), sum_type(heatmaps.dtype)
    return [heatmaps.sum([a for a in axes if a != axis], dtype=kind) for axis in reversed(axes)]
