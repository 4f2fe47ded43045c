"""The centroid of the largest blob of every map: connected pixels near the maximum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from mmlandmark.ops.arguments import check_maps, sum_type
from mmlandmark.ops.refined_peak import peak


def blob_centroid(heatmaps: Tensor, threshold: float = 0.95) -> Tensor:
    """Return the centroid of the largest connected blob of every map (Ham and Oh 2023, section 4.3).

    A blob is a set of neighbouring pixels, diagonal ones included, above ``threshold`` times the maximum of
    their map; the publication has maps that peak at 1, and the threshold itself. Of several blobs of one
    size the first in reading order counts. A map without a positive maximum has no blob: there the first
    maximum is returned. All maps are searched at once, and only the pixels above the threshold are visited
    more than once. Without gradient.

    Args:
        heatmaps: (B, K, *S).
        threshold: Fraction of the maximum, at least 0 and below 1.

    Returns:
        (B, K, D) pixels of the map, (x, y[, z]), float32 or wider.

    Raises:
        ValueError: ``heatmaps`` has another shape, or ``threshold`` is outside of [0, 1).

    Example:
        >>> blob_centroid(torch.tensor([[[[1.0, 0.0, 0.0, 0.98, 0.96]]]]))
        tensor([[[3.5000, 0.0000]]])
    """
    check_maps(heatmaps, "heatmaps")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be at least 0 and below 1, got {threshold}")
    heatmaps = heatmaps.detach()
    batch, count, *size = heatmaps.shape
    pixels, values = peak(heatmaps)
    level = (values * threshold).reshape(-1, *[1] * len(size))
    maps = heatmaps.flatten(0, 1)
    # (n, 1 + D) pixels of all maps in reading order; none where the maximum is not positive.
    above = ((maps > level) & (level >= 0) & (maps > 0)).nonzero()
    centers = pixels.flatten(0, 1).to(sum_type(heatmaps.dtype))
    if len(above):
        label, area = _components(above, size)
        # Largest area first, then the smallest label, which is the first pixel in reading order.
        rank = area[label] * len(above) + (len(above) - 1 - label)
        best = rank.new_full((batch * count,), -1)
        best.scatter_reduce_(0, above[:, 0], rank, "amax")
        above = above[rank == best[above[:, 0]]]
        total = torch.bincount(above[:, 0], minlength=batch * count)
        sums = torch.zeros_like(centers, dtype=torch.float64)
        sums.index_add_(0, above[:, 0], above[:, 1:].flip(-1).to(sums.dtype))
        mean = (sums / total.clamp(min=1)[:, None]).to(centers.dtype)
        centers = torch.where(total[:, None] > 0, mean, centers)
    return centers.view(batch, count, len(size))


def _components(above: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the (n,) component of pixels as the index of its first one, and the (n,) size under that index.

    Args:
        above: (n, 1 + D) map and pixel in array order, in reading order.
        size: (*S) of a map.
    """
    # One more, empty pixel on every axis, so that a step over an edge meets no neighbour.
    strides = [1]
    for side in reversed(size):
        strides.insert(0, strides[0] * (side + 1))
    place = (above * above.new_tensor(strides)).sum(1)
    firsts, seconds = [], []
    steps = [step for step in product((-1, 0, 1), repeat=len(size)) if step > (0,) * len(size)]
    for step in steps:
        wanted = place + sum(s * stride for s, stride in zip(step, strides[1:], strict=True))
        index = torch.searchsorted(place, wanted).clamp(max=len(place) - 1)
        hit = (place[index] == wanted).nonzero()[:, 0]
        firsts.append(hit)
        seconds.append(index[hit])
    first, second = torch.cat(firsts), torch.cat(seconds)
    label = torch.arange(len(above), device=above.device)
    while True:
        low = torch.minimum(label[first], label[second])
        joined = label.clone()
        # The label's own entry is lowered with the pixel's, so that whole components join in one turn.
        for target in (first, second, label[first], label[second]):
            joined.scatter_reduce_(0, target, low, "amin")
        joined = joined[joined]
        if torch.equal(joined, label):
            return label, torch.bincount(label, minlength=len(above))
        label = joined
