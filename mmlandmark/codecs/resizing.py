"""Maps at another size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps or features (B, C, *S) at another size.

    Means over areas where every side gets shorter, else linear interpolation.

    Example:
        >>> import torch
        >>> resized(torch.tensor([[[[0.0, 1.0, 2.0, 3.0]]]]), (1, 2)).tolist()
        [[[[0.5, 2.5]]]]
    """
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    side: Any = tuple(size)
    if all(new <= old for new, old in zip(size, maps.shape[2:], strict=True)):
        pool = F.adaptive_avg_pool2d if len(size) == 2 else F.adaptive_avg_pool3d
        return pool(maps, side)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return F.interpolate(maps, size=side, mode=mode, align_corners=False)
