"""A heatmap codec that learns the width of every landmark's peak."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmlandmark.codecs.heatmap_codec import HeatmapCodec
from mmlandmark.codecs.heatmap_target import HeatmapTarget
from mmlandmark.registry import CODECS


@CODECS.register_module()
class LearnedSigmaCodec(HeatmapCodec):
    r"""Gaussian peaks of a fixed integral, the width of each landmark's learned (Payer et al. 2019).

    The target of landmark k is :math:`s (2 \pi \sigma_k^2)^{-D/2} \exp(-d^2 / 2 \sigma_k^2)`, s the
    ``scale``. A squared error pulls :math:`\sigma_k` up for a landmark that the network or the annotator
    places loosely; the regulariser :math:`\frac{\lambda}{2 B} \sum_{b, k} w_{bk} \sigma_k^2`, w the landmark
    weights, pulls it down. A landmark that is not annotated in an image has no part in it. The log calls it
    ``loss_codec_sigma``.

    Weight decay must not reach the widths: ``paramwise_cfg=dict(custom_keys={"head.codec.sigma":
    dict(decay_mult=0)})``, where ``lr_mult`` may also give them another learning rate.

    Args:
        num_landmarks: K.
        sigma: Width to start from, in pixels of the map: 2.5 in the publication's images, 4 in its volumes.
        scale: Integral of a target: 100 in images, 1000 in volumes.
        regularizer: :math:`\lambda`: 20 in images and 100 in volumes, beside half the sum of squares.
        smallest: A width is kept from falling below this, where a peak would slip between the pixels.
        decoder: See :class:`HeatmapCodec`.
        dims: 2 or 3.
        activation: See :class:`HeatmapCodec`.
        window: Likewise.

    Raises:
        ValueError: An argument is not positive or not finite, or ``sigma`` is below ``smallest``.
    """

    sigma: Tensor

    def __init__(
        self,
        num_landmarks: int,
        sigma: float = 2.5,
        scale: float = 100.0,
        regularizer: float = 20.0,
        smallest: float = 0.5,
        decoder: str | dict = "quadratic",
        dims: int = 2,
        activation: str | None = None,
        window: int | None = None,
    ) -> None:
        if not isinstance(sigma, int | float):
            raise ValueError(f"sigma of LearnedSigmaCodec is one number to start from, got {sigma}")
        if not 0 < smallest <= sigma or not 0 <= regularizer < math.inf:
            raise ValueError(
                "LearnedSigmaCodec needs 0 < smallest <= sigma and a regularizer that is not negative, got "
                f"{smallest}, {sigma} and {regularizer}"
            )
        super().__init__(
            sigma, normalize="sum", scale=scale, activation=activation, decoder=decoder, window=window
        )
        self.regularizer, self.smallest, self.dims = regularizer, smallest, dims
        del self.sigma
        self.sigma = nn.Parameter(torch.full((num_landmarks,), float(sigma)))

    @property
    def peak_width(self) -> float:
        """The largest width, in pixels of the map."""
        return float(self.sigma.detach().max())

    def target_sigma(self, landmarks: Tensor) -> Tensor:
        """Return the widths, repeated for every annotator; gradients flow through them.

        Args:
            landmarks: (B, R * K, D) pixels of the map.
        """
        with (
            torch.no_grad()
        ):  # A step that went too far is taken back; the next one may grow the width again.
            self.sigma.data.clamp_(min=self.smallest)
        return self.sigma.repeat(landmarks.shape[1] // len(self.sigma))

    def relative(self, heights: Tensor) -> Tensor:
        """Return heights of peaks, (B, R * K, ...), as a fraction of each landmark's target."""
        sigma = self.sigma.detach().to(heights.dtype)
        full = self.scale / (2 * math.pi * sigma.square()) ** (self.dims / 2)
        return heights / full.repeat(heights.shape[1] // len(sigma)).view(-1, *[1] * (heights.ndim - 2))

    def losses(self, target: HeatmapTarget) -> dict[str, Tensor]:
        """Return the regulariser; see :meth:`BaseCodec.losses`."""
        squares = target.weights * self.target_sigma(target.landmarks).square()
        return {"sigma": self.regularizer / 2 * squares.sum() / len(target.weights)}
