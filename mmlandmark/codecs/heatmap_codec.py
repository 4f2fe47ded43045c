"""Heatmap codecs: one map with one peak per landmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmlandmark.codecs.base_codec import BaseCodec
from mmlandmark.codecs.candidates import Candidates, strongest_peaks
from mmlandmark.codecs.decoders import BaseDecoder
from mmlandmark.codecs.heatmap_target import GivenTarget, HeatmapTarget
from mmlandmark.codecs.spread import spread_of
from mmlandmark.ops import local_window
from mmlandmark.ops.gaussian_heatmap import check_peak
from mmlandmark.registry import CODECS, DECODERS
from mmlandmark.structures import Detection, apply_matrix, invert_matrix, resize_matrix


@CODECS.register_module()
class HeatmapCodec(BaseCodec):
    """Landmarks in input pixels <-> one map per landmark, of any size.

    A map smaller than the input relates to it as a resized image does, so a landmark moves between the
    two by the half-pixel convention of :mod:`mmlandmark.structures.coordinates`.

    Args:
        sigma: Width of the peak in pixels of the map, at every map size; or one per axis, (x, y[, z]).
        shape: See :func:`mmlandmark.ops.gaussian_heatmap`.
        normalize: ``peak`` or ``sum``, what ``scale`` fixes.
        scale: Height (or integral) of the target.
        activation: Applied to the model's output before decoding: None, ``sigmoid`` or ``softmax`` (over
            the pixels of a map). Losses see the output without it.
        decoder: Name or config of a decoder, see :mod:`mmlandmark.codecs.decoders`.
        window: Radius around the maximum in map pixels, of the decoder ``local_centroid`` and of the score of
            ``softmax``; ``ceil(sigma) + 1`` by default, of the largest sigma.

    Raises:
        ValueError: An argument is unknown, not positive or not finite; or ``window`` is negative.
    """

    def __init__(
        self,
        sigma: float | Sequence[float],
        shape: str = "gaussian",
        normalize: str = "peak",
        scale: float = 1.0,
        activation: str | None = None,
        decoder: str | dict = "local_centroid",
        window: int | None = None,
    ) -> None:
        super().__init__()
        widths = [sigma] if isinstance(sigma, int | float) else list(sigma)
        if not widths or not all(0 < number < math.inf for number in (*widths, scale)):
            raise ValueError(f"sigma and scale of a codec must be positive, got {sigma} and {scale}")
        check_peak(shape, normalize)
        if not (window is None or (isinstance(window, int) and window >= 0)):
            raise ValueError(f"window of a codec must be a whole number of at least 0, got {window}")
        if activation not in (None, "sigmoid", "softmax"):
            raise ValueError(f"activation must be None, 'sigmoid' or 'softmax', got {activation!r}")
        self.sigma: float | tuple[float, ...] | Tensor = float(widths[0])
        if not isinstance(sigma, int | float):
            self.sigma = tuple(float(width) for width in widths)
        self.shape, self.normalize, self.scale, self.activation = shape, normalize, float(scale), activation
        self.window = math.ceil(max(widths)) + 1 if window is None else window
        self.decoder: BaseDecoder = DECODERS.build(
            dict(type=decoder) if isinstance(decoder, str) else decoder
        )

    @property
    def peak_width(self) -> float:
        """Width of a peak along its widest axis, in pixels of the map."""
        return max(self.sigma) if isinstance(self.sigma, tuple) else float(self.sigma)

    @property
    def activation_scope(self) -> str:  # type: ignore[override]
        """See :class:`BaseCodec`."""
        return "map" if self.activation == "softmax" else "pixel"

    @property
    def reach(self) -> int | None:
        """See :attr:`BaseCodec.reach`; None for decoders of whole maps."""
        own = self.decoder.reach(self.peak_width, self.window)
        return None if own is None else max(own, self._reach)

    def target_sigma(self, landmarks: Tensor) -> float | Tensor:
        """Return the width of every landmark's peak, as :func:`mmlandmark.ops.gaussian_heatmap` takes it.

        Args:
            landmarks: (B, K, D) pixels of the map.

        Raises:
            ValueError: There are not as many widths as axes.
        """
        if not isinstance(self.sigma, tuple):
            return self.sigma
        if len(self.sigma) != landmarks.shape[-1]:
            raise ValueError(
                f"sigma of the codec has {len(self.sigma)} widths, landmarks have {landmarks.shape[-1]} "
                "coordinates: give one number, or one per axis"
            )
        return landmarks.new_tensor(self.sigma).expand_as(landmarks)

    @property
    def gathers(self) -> bool:
        """Whether decoded maps are distributions, so that a score is what the window about a peak gathers."""
        return self.activation == "softmax"

    def relative(self, heights: Tensor) -> Tensor:
        """Return heights of peaks, (B, K, ...), as a fraction of the target's, if that is known."""
        return heights / self.scale if self.normalize == "peak" else heights

    def to_map(self, landmarks: Tensor, input_size: Sequence[int], map_size: Sequence[int]) -> Tensor:
        """Return where landmarks (B, K, D) of the input lie in a map of ``map_size``."""
        return apply_matrix(resize_matrix(input_size, map_size), landmarks)

    def encode(
        self,
        landmarks: Tensor,
        mask: Tensor,
        weights: Tensor,
        input_size: Sequence[int],
        map_size: Sequence[int],
    ) -> HeatmapTarget:
        """Return the target of maps of ``map_size``; see :meth:`BaseCodec.encode`."""
        moved = self.to_map(landmarks, input_size, map_size)
        mask = mask & torch.isfinite(moved).all(-1)
        return HeatmapTarget(
            landmarks=torch.where(mask[..., None], moved, 0),
            mask=mask,
            weights=weights * mask,
            size=tuple(int(s) for s in map_size),
            sigma=self.target_sigma(moved),
            shape=self.shape,
            normalize=self.normalize,
            scale=self.scale,
        )

    def activate(self, outputs: Tensor) -> Tensor:
        """Return (B, K, *S) float maps from the model's raw output; NaN where a map of it is not finite."""
        outputs = super().activate(outputs)
        if self.activation is None:
            return outputs
        flat = outputs.flatten(2)
        maps = flat.sigmoid() if self.activation == "sigmoid" else flat.softmax(-1)
        # An infinite output would pass for a certain one. Zero times a finite sum changes nothing.
        return (maps + 0 * flat.detach().sum(-1, keepdim=True)).view(outputs.shape)

    def decode(self, maps: Tensor, input_size: Sequence[int], spread: bool = False) -> Detection:
        """Detect the landmark of every activated map.

        A map that is not finite, because of a pixel, a weight or an overflow, shows nothing: its point is
        NaN, which metrics count as not predicted, and its score 0.

        Args:
            maps: (B, K, *S), see :meth:`activate`.
            input_size: (*S) of the network's input.
            spread: Measure the covariance of every map, see :func:`mmlandmark.codecs.spread_of`.

        Returns:
            Landmarks in input pixels. Scores are the height of the peak as a fraction of the target's, for
            ``softmax`` the probability gathered in the window around it, and for another ``sum`` the height.
        """
        points, pixels, scores = self.decoder(maps, self.peak_width, self.window)
        if self.gathers:
            values, inside = local_window(maps, pixels, self.window)
            scores = (values * inside).flatten(2).sum(-1)
        else:
            scores = self.relative(scores)
        # One pass: a sum is finite only if all that is added is.
        finite = torch.isfinite(maps.flatten(2).sum(-1, dtype=points.dtype))
        covariance = None
        if spread:
            covariance = spread_of(maps, points, pixels, self._reach)
            covariance = torch.where(finite[..., None, None], covariance, torch.nan)
        points, scores = torch.where(finite[..., None], points, torch.nan), torch.where(finite, scores, 0)
        detection = Detection(points, scores, covariance)
        return detection.mapped(invert_matrix(resize_matrix(input_size, maps.shape[2:])))

    def candidates(self, maps: Tensor, input_size: Sequence[int], count: int) -> Candidates:
        """Return the strongest peaks; see :meth:`BaseCodec.candidates`.

        The weight of a peak is what :meth:`decode` gives as the score of the strongest one.
        """
        mass = self.gathers
        peaks = strongest_peaks(maps, self.decoder, self.peak_width, self.window, self._reach, count, mass)
        weights = peaks.weights if mass else self.relative(peaks.weights)
        found = Detection(peaks.points, weights, peaks.spread).mapped(
            resize_matrix(maps.shape[2:], input_size)
        )
        return Candidates(found.points, found.scores, found.spread)

    @property
    def _reach(self) -> int:
        """Radius of what belongs to a peak, in pixels of the map; a cone ends at its width."""
        widths = 1 if self.shape == "cone" else 3
        return max(self.window, math.ceil(widths * self.peak_width))

    def resized(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Return maps at another size; means over areas keep heights, and sums are restored."""
        new = super().resized(maps, size)
        if self.activation == "softmax" or self.normalize == "sum":
            new = new * (math.prod(maps.shape[2:]) / math.prod(size))
        return new

    def comparable_by(self) -> dict[str, Any]:
        """Return what decides on the values of a map but for the width of its peak."""
        return {key: getattr(self, key) for key in ("activation", "shape", "normalize", "scale")}

    def given_target(self, maps: Tensor, target: HeatmapTarget) -> GivenTarget:
        """Return a target whose maps are given; see :meth:`BaseCodec.given_target`."""
        return GivenTarget(
            target.landmarks, target.mask, target.weights, target.size, target.sigma, given=maps
        )


@CODECS.register_module()
class GaussianHeatmapCodec(HeatmapCodec):
    """Gaussian peaks of height 1, decoded by the centroid around the maximum."""


@CODECS.register_module()
class LaplaceHeatmapCodec(HeatmapCodec):
    r"""Laplace peaks of height 1; ``sigma`` is the length over which they decay, in pixels of the map.

    Args:
        sigma: Decay length.
        norm: 1 for :math:`\exp(-|d|_1 / \sigma)`, a square on its corner; 2 for the round :math:`|d|_2`.
        decoder: See :class:`HeatmapCodec`; Ham and Oh (2023) use ``blob_centroid``.
        **kwargs: See :class:`HeatmapCodec`.

    Raises:
        ValueError: ``norm`` is neither 1 nor 2.
    """

    def __init__(
        self, sigma: float | Sequence[float], norm: int = 1, decoder: str | dict = "quadratic", **kwargs
    ) -> None:
        if norm not in (1, 2):
            raise ValueError(f"norm of a Laplace peak must be 1 or 2, got {norm!r}")
        super().__init__(sigma, shape="laplace" if norm == 1 else "laplace_l2", decoder=decoder, **kwargs)
