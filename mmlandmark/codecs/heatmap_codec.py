"""Heatmap codecs: one object encodes landmarks to maps and decodes maps to landmarks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.codecs.heatmap_target import HeatmapTarget
from mmlandmark.ops import blob_centroid, local_window, refined_peak, soft_argmax
from mmlandmark.registry import CODECS
from mmlandmark.structures import apply_matrix, invert_matrix, resize_matrix

DECODERS = ("argmax", "quadratic", "dark", "local_centroid", "soft_argmax", "blob_centroid")


@CODECS.register_module()
class HeatmapCodec:
    """Landmarks in input pixels <-> one map per landmark, of any size.

    A map smaller than the input relates to it as a resized image does, so a landmark moves between the
    two by the half-pixel convention of :mod:`mmlandmark.structures.coordinates`.

    Args:
        sigma: Width of the peak in pixels of the map, at every map size.
        shape: See :func:`mmlandmark.ops.gaussian_heatmap`.
        normalize: ``peak`` or ``sum``, what ``scale`` fixes.
        scale: Height (or integral) of the target.
        activation: Applied to the model's output before decoding: None, ``sigmoid`` or ``softmax`` (over
            the pixels of a map). Losses see the output without it.
        decoder: ``argmax``; ``quadratic``: second-order fit; ``dark``: the same on the logarithm of the
            smoothed map (Zhang et al. 2020); ``local_centroid``: centroid around the maximum;
            ``soft_argmax``: expectation over the whole map; ``blob_centroid``: see
            :func:`mmlandmark.ops.blob_centroid`.
        window: Radius around the maximum in map pixels, of ``local_centroid`` and of the score of
            ``softmax``; ``ceil(sigma) + 1`` by default.
        beta: Sharpness of ``soft_argmax``.
        threshold: Of ``blob_centroid``.
        one_based_grid: As the published code of FARNet does: pixels of a target are counted from 1, but from
            0 when it is decoded, and coordinates of a map are those of the input times the ratio of sizes.
            Every landmark is then found about one pixel of the map too far to the upper left; only for
            reproducing published numbers.

    Raises:
        ValueError: An argument is unknown or not positive.
    """

    def __init__(
        self,
        sigma: float,
        shape: str = "gaussian",
        normalize: str = "peak",
        scale: float = 1.0,
        activation: str | None = None,
        decoder: str = "local_centroid",
        window: int | None = None,
        beta: float = 25.0,
        threshold: float = 0.95,
        one_based_grid: bool = False,
    ) -> None:
        if not sigma > 0 or not scale > 0:
            raise ValueError(f"sigma and scale of a codec must be positive, got {sigma} and {scale}")
        if decoder not in DECODERS:
            raise ValueError(f"decoder must be one of {DECODERS}, got {decoder!r}")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold of a codec must be at least 0 and below 1, got {threshold}")
        if activation not in (None, "sigmoid", "softmax"):
            raise ValueError(f"activation must be None, 'sigmoid' or 'softmax', got {activation!r}")
        self.sigma, self.shape, self.normalize, self.scale = float(sigma), shape, normalize, float(scale)
        self.activation, self.decoder, self.beta = activation, decoder, beta
        self.threshold = threshold
        self.one_based_grid = one_based_grid
        self.window = int(-(-sigma // 1)) + 1 if window is None else window

    def encode(
        self,
        landmarks: Tensor,
        mask: Tensor,
        weights: Tensor,
        input_size: Sequence[int],
        map_size: Sequence[int],
    ) -> HeatmapTarget:
        """Return the target for maps of ``map_size``.

        Args:
            landmarks: (B, K, D) input pixels, (x, y[, z]).
            mask: (B, K) bool.
            weights: (B, K) float.
            input_size: (*S) of the network's input.
            map_size: (*S) of the map.
        """
        moved = apply_matrix(resize_matrix(input_size, map_size), landmarks)
        if self.one_based_grid:
            ratio = [m / s for m, s in zip(map_size[::-1], input_size[::-1], strict=True)]
            moved = landmarks * landmarks.new_tensor(ratio) - 1
        mask = mask & torch.isfinite(moved).all(-1)
        return HeatmapTarget(
            landmarks=torch.where(mask[..., None], moved, 0),
            mask=mask,
            weights=weights * mask,
            size=tuple(int(s) for s in map_size),
            sigma=self.sigma,
            shape=self.shape,
            normalize=self.normalize,
            scale=self.scale,
        )

    def activate(self, outputs: Tensor) -> Tensor:
        """Return (B, K, *S) float maps from the model's raw output; NaN where a map of it is not finite."""
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if self.activation is None:
            return outputs
        flat = outputs.flatten(2)
        maps = flat.sigmoid() if self.activation == "sigmoid" else flat.softmax(-1)
        # An infinite output would pass for a certain one. Zero times a finite sum changes nothing.
        return (maps + 0 * flat.detach().sum(-1, keepdim=True)).view(outputs.shape)

    def decode(self, heatmaps: Tensor, input_size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Find every landmark in activated maps.

        A map that is not finite, because of a pixel, a weight or an overflow, shows nothing: its point is
        NaN, which metrics count as not predicted, and its score 0.

        Args:
            heatmaps: (B, K, *S), see :meth:`activate`.
            input_size: (*S) of the network's input.

        Returns:
            (B, K, D) landmarks in input pixels, (x, y[, z]), and (B, K) scores: the height of the peak as a
            fraction of the target's, or for ``softmax`` the probability gathered in the window around it.
        """
        method, window, smooth = {
            "quadratic": ("quadratic", 0, 0.0),
            "dark": ("log_quadratic", 0, self.sigma),
            "local_centroid": ("centroid", self.window, 0.0),
        }.get(self.decoder, ("none", 0, 0.0))
        points, pixel, scores = refined_peak(heatmaps, method, window, smooth)
        if self.activation == "softmax":
            values, inside = local_window(heatmaps, pixel, self.window)
            scores = (values * inside).flatten(2).sum(-1)
        elif self.normalize == "peak":
            scores = scores / self.scale
        if self.decoder == "soft_argmax":
            points = soft_argmax(heatmaps, self.beta)
        elif self.decoder == "blob_centroid":
            points = blob_centroid(heatmaps, self.threshold)
        # One pass: a sum is finite only if all that is added is.
        whole = torch.isfinite(heatmaps.flatten(2).sum(-1, dtype=points.dtype))
        points, scores = torch.where(whole[..., None], points, torch.nan), torch.where(whole, scores, 0)
        matrix = invert_matrix(resize_matrix(input_size, heatmaps.shape[2:]))
        return apply_matrix(matrix, points), scores


@CODECS.register_module()
class GaussianHeatmapCodec(HeatmapCodec):
    """Gaussian peaks of height 1, decoded by the centroid around the maximum."""


@CODECS.register_module()
class LaplaceHeatmapCodec(HeatmapCodec):
    r"""Laplace peaks of height 1; ``sigma`` is the length over which they decay, in pixels of the map.

    Args:
        sigma: Decay length.
        norm: 1 for :math:`\exp(-|d|_1 / \sigma)`, a square on its corner; 2 for the round :math:`|d|_2`.
        decoder: See :class:`HeatmapCodec`; Ham and Oh (2023) take ``blob_centroid``.
        **kwargs: See :class:`HeatmapCodec`.

    Raises:
        ValueError: ``norm`` is neither 1 nor 2.
    """

    def __init__(self, sigma: float, norm: int = 1, decoder: str = "quadratic", **kwargs) -> None:
        if norm not in (1, 2):
            raise ValueError(f"norm of a Laplace peak must be 1 or 2, got {norm!r}")
        super().__init__(sigma, shape="laplace" if norm == 1 else "laplace_l2", decoder=decoder, **kwargs)
