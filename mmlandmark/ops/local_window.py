"""Windows cut out of heatmaps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def local_window(heatmaps: Tensor, center: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Cut a window of (2 * radius + 1) pixels a side out of every map.

    Args:
        heatmaps: (B, K, *S).
        center: (B, K, D) int64 pixels, (x, y[, z]), inside the map.
        radius: Pixels on each side of the centre.

    Returns:
        (B, K, *W) values, with the border's values repeated outside, and (B, K, *W) bool: inside the map.

    Example:
        >>> values, inside = local_window(torch.arange(9.0).view(1, 1, 3, 3), torch.tensor([[[0, 1]]]), 1)
        >>> values[0, 0].tolist()
        [[0.0, 0.0, 1.0], [3.0, 3.0, 4.0], [6.0, 6.0, 7.0]]
        >>> inside[0, 0, 0].tolist()
        [False, True, True]
    """
    index, inside = window_index(heatmaps.shape[2:], center, radius)
    values = heatmaps.flatten(2).gather(2, index.flatten(2)).view(index.shape)
    return values, inside


def window_index(size: Sequence[int], center: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Return where the pixels of windows stand in a flattened map.

    Args:
        size: (*S) of the map.
        center: (B, K, D) int64 pixels, (x, y[, z]), inside the map.
        radius: Pixels on each side of the centre.

    Returns:
        (B, K, *W) int64, outside the map that of the nearest pixel, and (B, K, *W) bool: inside the map.

    Example:
        >>> index, inside = window_index((3, 3), torch.tensor([[[0, 1]]]), 1)
        >>> index[0, 0].tolist()
        [[0, 0, 1], [3, 3, 4], [6, 6, 7]]
    """
    batch, count, dims = center.shape
    steps = torch.arange(-radius, radius + 1, device=center.device)
    index = torch.zeros((batch, count, *[1] * dims), dtype=torch.int64, device=center.device)
    inside = torch.ones((batch, count, *[1] * dims), dtype=torch.bool, device=center.device)
    for axis, side in enumerate(size):
        shape = [1] * dims
        shape[axis] = len(steps)
        position = center[..., dims - 1 - axis].reshape(batch, count, *[1] * dims) + steps.reshape(
            1, 1, *shape
        )
        inside = inside & (position >= 0) & (position < side)
        index = index * side + position.clamp(0, side - 1)
    return index, inside
