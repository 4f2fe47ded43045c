"""Spatial configuration loss: the places of landmarks relative to each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.losses.heatmap_loss import LandmarkLoss, compared_maps
from mmlandmark.models.losses.spatial_features import spatial_features
from mmlandmark.ops import spatial_expectation
from mmlandmark.registry import MODELS, SPATIAL_FEATURES


@MODELS.register_module()
class SpatialConfigurationLoss(LandmarkLoss):
    r"""Spatial configuration loss :math:`\|x - o\|^2 + \gamma \|c_x - c_o\|^2` (Ham and Oh 2023, eq. 1 to 4).

    Every heatmap is embedded as the expectation :math:`e_k` of d maps of position under
    :math:`\mathrm{softmax}(\beta x_k)`; the correlations :math:`c = E E^T` of the n embeddings describe how
    the landmarks lie relative to each other. The target's heatmaps are embedded in the same way. At the
    published :math:`\beta = 10` most of the softmax lies on the background, which shrinks an embedding
    towards
    the centre: good for comparing, not for decoding (see :func:`mmlandmark.ops.soft_argmax`).

    With w the landmark weights, the correlation term of an image is
    :math:`\sum_{ij} w_i w_j (c_x - c_o)_{ij}^2`. Masked landmarks are left out of rows and columns; in an
    image with fewer than two landmarks the term is zero.

    Args:
        gamma: Weight of the correlations. The paper's text says 1e-3; its Table 5 is best, and equal to its
            main result, at 1e-4.
        beta: Sharpness of the softmax.
        features: Names in ``SPATIAL_FEATURES``, see :func:`spatial_features`.
        heatmap_loss: Config of the first term, with a reduction of its own; None leaves it out, for a head
            with another loss beside this one.
        reduction: Of the correlations: ``mean`` over all pairs, ``sum`` over the pairs of an image and mean
            over the batch.
        loss_weight: Factor of both terms.

    Raises:
        ValueError: An argument is unknown or negative; or the maps are of a single landmark, which has no
            configuration.
    """

    def __init__(
        self,
        gamma: float = 1e-4,
        beta: float = 10.0,
        features: Sequence[str | dict] = ("cartesian", "polar"),
        heatmap_loss: dict | None = dict(type="HeatmapMSELoss"),  # noqa: B006  never written to
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight, reduction)
        if not gamma >= 0 or not beta > 0:
            raise ValueError(f"gamma must not be negative and beta positive, got {gamma} and {beta}")
        if isinstance(features, str) or not features:
            raise ValueError(f"features must be a list of names, at least one, got {features!r}")
        for name in features:  # an unknown name fails here, not in the first batch
            SPATIAL_FEATURES.get(name if isinstance(name, str) else name["type"])
        self.gamma, self.beta, self.features = gamma, beta, list(features)
        self.heatmap_loss = None if heatmap_loss is None else MODELS.build(heatmap_loss)
        self._maps: dict[tuple, Sequence[Tensor]] = {}

    def forward(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the scalar loss; see :meth:`LandmarkLoss.forward`."""
        if compared_maps(pred, target).shape[1] < 2:
            raise ValueError(
                "SpatialConfigurationLoss needs at least two landmarks, the head has one: use "
                "HeatmapMSELoss for a single landmark"
            )
        total = self.gamma * super().forward(pred, target)
        if self.heatmap_loss is not None:
            total = total + self.loss_weight * self.heatmap_loss(pred, target)
        return total

    def per_landmark(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the weighted sum of every row of squared differences of correlation, (B, n)."""
        weights = self._weights(target)
        with torch.no_grad():
            truth = self.correlations(target.heatmaps.to(pred.dtype), weights > 0)
        predicted = self.correlations(pred, weights > 0)
        return ((predicted - truth).square() @ weights[..., None])[..., 0]

    def normalizer(self, target: HeatmapTarget) -> Tensor:
        """Return the total weight of all pairs for ``mean``, the batch size for ``sum``."""
        if self.reduction == "mean":
            return self._weights(target).sum(1).square().sum()
        return target.weights.new_tensor(float(len(target.weights)))

    def correlations(self, heatmaps: Tensor, mask: Tensor) -> Tensor:
        """Return c = E E^T of (B, n, *S) heatmaps, (B, n, n); zero where the (B, n) ``mask`` is False."""
        embedding = torch.where(mask[..., None], self.embedding(heatmaps), 0)
        return embedding @ embedding.mT

    def embedding(self, heatmaps: Tensor) -> Tensor:
        """Return the expectations E of the d maps of position under every heatmap's softmax, (B, n, d)."""
        place = (tuple(heatmaps.shape[2:]), heatmaps.device, heatmaps.dtype)
        if place not in self._maps:
            maps = spatial_features(self.features, place[0]).to(heatmaps)
            self._maps[place] = maps.split(8)  # as many as the operator takes at once
        parts = [spatial_expectation(heatmaps, maps, self.beta) for maps in self._maps[place]]
        return torch.cat(parts, -1)

    @staticmethod
    def _weights(target: HeatmapTarget) -> Tensor:
        """Return (B, n) weights, zero in images with fewer than two landmarks."""
        return target.weights * ((target.weights > 0).sum(1, keepdim=True) > 1)
