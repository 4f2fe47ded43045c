"""Decoders: from a map with one peak to a point between its pixels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmlandmark.ops import blob_centroid, centroid, quadratic_fit, refined_peak, soft_argmax
from mmlandmark.registry import DECODERS


class Peaks(NamedTuple):
    """The peaks of maps (B, N, *S).

    Attributes:
        points: (B, N, D) pixels of the map, (x, y[, z]), float32 or wider.
        pixels: (B, N, D) int64, where the maximum lies.
        heights: (B, N), its value.
    """

    points: Tensor
    pixels: Tensor
    heights: Tensor


class BaseDecoder(nn.Module, ABC):
    """One way to decode maps with one peak each."""

    @abstractmethod
    def forward(self, maps: Tensor, width: float, window: int) -> Peaks:
        """Return the peaks.

        Args:
            maps: (B, N, *S) activated maps.
            width: Standard deviation of a peak in pixels of the map, as the codec draws it.
            window: Radius in pixels of the map of what belongs to a peak.
        """

    def reach(self, width: float, window: int) -> int | None:
        """Return how far from the maximum the decoder looks, in pixels; None: anywhere, the default."""
        return None


@DECODERS.register_module(name="argmax")
class ArgmaxDecoder(BaseDecoder):
    """The pixel of the maximum."""

    def forward(self, maps: Tensor, width: float, window: int) -> Peaks:
        """Return the maxima; see :class:`BaseDecoder`."""
        return Peaks(*refined_peak(maps))

    def reach(self, width: float, window: int) -> int:
        """Return 0; see :class:`BaseDecoder`."""
        return 0


@DECODERS.register_module(name="quadratic")
class QuadraticDecoder(BaseDecoder):
    """Second-order fit about the maximum, see :func:`mmlandmark.ops.quadratic_peak`."""

    def forward(self, maps: Tensor, width: float, window: int) -> Peaks:
        """Return the maxima of the fits; see :class:`BaseDecoder`."""
        return Peaks(*refined_peak(maps, "quadratic"))

    def reach(self, width: float, window: int) -> int:
        """Return that of the fit; see :class:`BaseDecoder`."""
        return 1


@DECODERS.register_module(name="dark")
class DarkDecoder(BaseDecoder):
    """Second-order fit to the logarithm of the map smoothed by its peak's width (Zhang et al. 2020).

    The most exact decoder of Gaussians, also of noisy ones and of those with one width per axis. Along an
    axis on which the smoothing would reach over the border, where there is nothing to smooth with, the fit
    is to the map itself.
    """

    def forward(self, maps: Tensor, width: float, window: int) -> Peaks:
        """Return the maxima of the fits; see :class:`BaseDecoder`."""
        smooth, pixels, heights = refined_peak(maps, "log_quadratic", smooth=width)
        sides = torch.tensor(maps.shape[:1:-1], device=maps.device)
        reach = 1 + math.ceil(3 * width)
        near = (pixels < reach) | (pixels >= sides - reach)
        return Peaks(torch.where(near, quadratic_fit(maps, pixels, log=True), smooth), pixels, heights)

    def reach(self, width: float, window: int) -> int:
        """Return that of the fit to the smoothed map; see :class:`BaseDecoder`."""
        return 1 + math.ceil(3 * width)


@DECODERS.register_module(name="local_centroid")
class LocalCentroidDecoder(BaseDecoder):
    """Centroid of the window about the maximum, see :func:`mmlandmark.ops.local_centroid`."""

    def forward(self, maps: Tensor, width: float, window: int) -> Peaks:
        """Return the centroids; see :class:`BaseDecoder`."""
        return Peaks(*refined_peak(maps, "centroid", window))

    def reach(self, width: float, window: int) -> int:
        """Return the window's radius; see :class:`BaseDecoder`."""
        return window


@DECODERS.register_module(name="soft_argmax")
class SoftArgmaxDecoder(BaseDecoder):
    """Expectation of the position over the whole map.

    Args:
        beta: Factor of the map before the softmax.

    Raises:
        ValueError: ``beta`` is not positive.
    """

    def __init__(self, beta: float = 25.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta of soft_argmax must be positive, got {beta}")
        self.beta = beta

    def forward(self, maps: Tensor, width: float, window: int) -> Peaks:
        """Return the expectations; see :class:`BaseDecoder`."""
        return Peaks(*refined_peak(maps))._replace(points=soft_argmax(maps, self.beta))


@DECODERS.register_module(name="integral")
class IntegralDecoder(BaseDecoder):
    """Centre of mass of the whole map, see :func:`mmlandmark.ops.centroid`.

    Of sigmoid maps it is what ``IntegralL1Loss`` and ``RegionAttentionLoss`` learn (Chen et al., eq. 2).
    """

    def forward(self, maps: Tensor, width: float, window: int) -> Peaks:
        """Return the centres; see :class:`BaseDecoder`."""
        return Peaks(*refined_peak(maps))._replace(points=centroid(maps))


@DECODERS.register_module(name="blob_centroid")
class BlobCentroidDecoder(BaseDecoder):
    """Centroid of what lies above a part of the maximum, see :func:`mmlandmark.ops.blob_centroid`.

    Args:
        threshold: That part.

    Raises:
        ValueError: ``threshold`` is below 0, or not below 1.
    """

    def __init__(self, threshold: float = 0.95) -> None:
        super().__init__()
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold of blob_centroid must be at least 0 and below 1, got {threshold}")
        self.threshold = threshold

    def forward(self, maps: Tensor, width: float, window: int) -> Peaks:
        """Return the centroids; see :class:`BaseDecoder`."""
        return Peaks(*refined_peak(maps))._replace(points=blob_centroid(maps, self.threshold))
