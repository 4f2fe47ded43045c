"""Several peaks of a map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mmlandmark.codecs.decoders import BaseDecoder
from mmlandmark.codecs.spread import spread_of
from mmlandmark.ops import local_window


class Candidates(NamedTuple):
    """The strongest peaks of maps (B, N, *S), strongest first.

    Attributes:
        points: (B, N, C, D) pixels, (x, y[, z]); NaN where a map has fewer peaks.
        weights: (B, N, C) at least 0: how much of the map speaks for each; 0 where there is none.
        spread: (B, N, C, D, D) covariance of each in pixels^2, or None where it is not known.
    """

    points: Tensor
    weights: Tensor
    spread: Tensor | None = None


def strongest_peaks(
    maps: Tensor, decoder: BaseDecoder, width: float, window: int, reach: int, count: int, mass: bool
) -> Candidates:
    """Return the strongest peaks of every map, in pixels of the map, one after the other.

    The surroundings of a peak are lowered to the least value of the map before the next is looked for.

    Args:
        maps: (B, N, *S) finite activated maps.
        decoder: Finds and refines one peak.
        width: Of a peak, see :class:`BaseDecoder`.
        window: Likewise.
        reach: Radius of what belongs to a peak, in pixels: the spread is measured within it, and further
            peaks lie outside.
        count: C.
        mass: Weigh a peak by the sum in its window, for maps that are distributions; else by its height.
    """
    floor = maps.flatten(2).amin(-1)
    left = maps
    points: list[Tensor] = []
    weights: list[Tensor] = []
    spreads: list[Tensor] = []
    for _ in range(count):
        peaks = decoder(left, width, window)
        values, inside = local_window(left, peaks.pixels, window)
        weight = (values * inside).flatten(2).sum(-1) if mass else peaks.heights
        # What is no higher than the least value is no peak; the first one always counts.
        found = peaks.heights > floor.to(peaks.heights.dtype) if points else torch.isfinite(peaks.heights)
        points.append(torch.where(found[..., None], peaks.points, torch.nan))
        weights.append(torch.where(found, weight.to(points[0].dtype), 0).clamp(min=0))
        spreads.append(spread_of(left, peaks.points, peaks.pixels, reach))
        left = _lowered(left, peaks.pixels, reach, floor)
    return Candidates(torch.stack(points, 2), torch.stack(weights, 2), torch.stack(spreads, 2))


def _lowered(maps: Tensor, pixels: Tensor, radius: int, floor: Tensor) -> Tensor:
    """Return maps whose values within ``radius`` pixels of a pixel (B, N, D) along every axis are (B, N)."""
    dims = pixels.shape[-1]
    near = torch.ones_like(maps, dtype=torch.bool)
    for axis, side in enumerate(maps.shape[2:]):
        place = torch.arange(side, device=maps.device) - pixels[..., dims - 1 - axis, None]
        shape = [*maps.shape[:2], *[1] * dims]
        shape[2 + axis] = side
        near &= (place.abs() <= radius).view(shape)
    return torch.where(near, floor.view(*floor.shape, *[1] * dims), maps)
