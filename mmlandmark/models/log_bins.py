"""Features of a pixel together with those around it, coarser with the distance."""

from __future__ import annotations

from itertools import product

import torch.nn.functional as F
from torch import Tensor, cat


def num_log_bins(hierarchy: int, dims: int = 2) -> int:
    """Return the number of bins of :func:`log_bins`.

    Example:
        >>> num_log_bins(0), num_log_bins(2)
        (1, 17)
    """
    return 1 + hierarchy * (3**dims - 1)


def log_bins(features: Tensor, hierarchy: int) -> Tensor:
    """Return features with the context of every pixel, as further channels.

    The log bins of Amir et al. 2021, *Deep ViT Features as Dense Visual Descriptors*. Bin by bin: at scale s
    = 0, 1, ... the features are means over :math:`3^s` pixels a side, without those beyond the border, and
    are read at the :math:`3^D - 1` places around the pixel that lie :math:`3^s` pixels away along the axes.
    The pixel itself is one more bin of the first scale, in the middle. Within a scale the order is that of
    the array. Places beyond the border take the nearest one on it.

    Args:
        features: (B, C, *S).
        hierarchy: Number of scales; with 0 features stay as they are.

    Returns:
        (B, bins * C, *S), see :func:`num_log_bins`.
    """
    if not hierarchy:
        return features
    dims = features.ndim - 2
    sides = features.shape[2:]
    bins = []
    for scale in range(hierarchy):
        step = 3**scale
        # A replicated border must not be averaged, so it is added behind the means.
        around = F.pad(_means(features, step), [step] * 2 * dims, mode="replicate")
        for place in product(range(3), repeat=dims):
            if scale and place == (1,) * dims:
                continue
            part = around
            for axis, (offset, side) in enumerate(zip(place, sides, strict=True)):
                part = part.narrow(2 + axis, offset * step, side)
            bins.append(part)
    return cat(bins, 1)


def _means(features: Tensor, side: int) -> Tensor:
    """Return means over windows about every pixel (B, C, *S), of the pixels that exist."""
    if side == 1:
        return features
    pool = F.avg_pool2d if features.ndim == 4 else F.avg_pool3d
    return pool(features, side, stride=1, padding=side // 2, count_include_pad=False)
