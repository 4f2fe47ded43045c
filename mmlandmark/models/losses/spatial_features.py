"""Maps of pixel position for the spatial configuration loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlandmark.registry import SPATIAL_FEATURES


def _from_center(size: Sequence[int]) -> list[Tensor]:
    """Return D maps of the offset of every pixel from the centre of the map, x first, float64."""
    axes = [torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in size]
    return list(torch.meshgrid(*axes, indexing="ij")[::-1])


@SPATIAL_FEATURES.register_module(name="cartesian")
def cartesian(size: Sequence[int]) -> Tensor:
    """Return (D, *S) maps of x, y[, z]."""
    return torch.stack(_from_center(size))


@SPATIAL_FEATURES.register_module(name="polar")
def polar(size: Sequence[int]) -> Tensor:
    r"""Return (D, *S) maps of the distance from the centre and of the angle, or of both angles in space.

    The angle is :math:`\mathrm{atan2}(y, x)` in :math:`(-\pi, \pi]`: y points down, and the jump lies to the
    left of the centre. In space the second angle is that from the z axis.
    """
    offsets = _from_center(size)
    radius = torch.stack(offsets).norm(dim=0)
    maps = [radius, torch.atan2(offsets[1], offsets[0])]
    if len(offsets) == 3:
        maps.append(torch.acos((offsets[2] / radius.clamp(min=torch.finfo(radius.dtype).tiny)).clamp(-1, 1)))
    return torch.stack(maps)


def spatial_features(names: Sequence[str | dict], size: Sequence[int]) -> Tensor:
    """Return registered maps, each with mean 0 and standard deviation 1 over its pixels.

    As an instance norm without parameters does: the variance is the biased one, plus 1e-5 (Ham and Oh 2023,
    section 3.2).

    Args:
        names: Names in ``SPATIAL_FEATURES``, or configs with further arguments. What is registered is
            called with ``size`` and returns (d, *S).
        size: (*S) of the heatmaps.

    Returns:
        (d, *S) float64 of all of them.

    Raises:
        ValueError: A function returned maps of another size.

    Example:
        >>> spatial_features(["cartesian"], (1, 3))[0, 0].round(decimals=3).tolist()
        [-1.225, 0.0, 1.225]
    """
    parts = []
    for name in names:
        config = dict(type=name) if isinstance(name, str) else dict(name)
        maps = SPATIAL_FEATURES.get(config.pop("type"))(size=tuple(size), **config)
        if maps.ndim != len(size) + 1 or tuple(maps.shape[1:]) != tuple(size):
            raise ValueError(
                f"spatial feature {name!r} must be (d, *S) with *S = {tuple(size)}, got {tuple(maps.shape)}"
            )
        parts.append(maps.to(torch.float64))
    stacked = torch.cat(parts).flatten(1)
    return F.instance_norm(stacked[None], eps=1e-5)[0].view(-1, *size)
