"""Region Attention loss: a map is active near the landmark, not at one fixed distribution around it."""

from __future__ import annotations

import torch
from torch import Tensor

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.losses.integral_loss import IntegralLoss, normalized_steps
from mmlandmark.ops import marginals, region_distance
from mmlandmark.registry import MODELS


@MODELS.register_module()
class RegionAttentionLoss(IntegralLoss):
    r"""Region Attention loss :math:`||\delta| - \sum_p \hat H(p) |p - x||` (Chen et al., eqs. 8 to 10).

    :math:`\hat H` is the activated map over its sum and x the landmark or pseudo label: the mass of a map
    shall lie about as far from it as the label from the unknown truth. Coordinates are normalised, and
    :math:`|\delta|` is drawn anew for every landmark in every iteration from :math:`N(\mu, \sigma^2)`, no
    less than 0. The draws are those of PyTorch's global generator, which
    :class:`~mmlandmark.engine.hooks.EpochSeedHook` seeds in every epoch: a resumed run draws the same.

    Args:
        mean: :math:`\mu`, as a part of the image's sides.
        std: :math:`\sigma`, likewise; 0 draws nothing.
        norm: 2 for the Euclidean distance :math:`|p - x|`, 1 for the sum along the axes.
        activation: See :class:`IntegralLoss`.
        beta: Likewise.
        reduction: Likewise. Eq. 10 is ``sum``.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: ``mean`` or ``std`` is negative, or ``norm`` is neither 1 nor 2.
    """

    def __init__(
        self,
        mean: float = 0.01,
        std: float = 0.005,
        norm: int = 2,
        activation: str | None = None,
        beta: float = 1.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(activation, beta, reduction, loss_weight)
        if not mean >= 0 or not std >= 0:
            raise ValueError(f"mean and std must not be negative, got {mean} and {std}")
        if norm not in (1, 2):
            raise ValueError(f"norm of a distance must be 1 or 2, got {norm!r}")
        self.mean, self.std, self.norm = mean, std, norm

    def per_landmark(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return how far the mean distance of every map's mass is from the one drawn, (B, K)."""
        distance = self.distances(pred, target)
        offsets = torch.full_like(distance, self.mean)
        if self.std > 0:
            offsets += self.std * torch.randn_like(distance)
        return (offsets.clamp(min=0) - distance).abs()

    def distances(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the mean distance of every map's mass from its landmark, (B, K), normalised."""
        mass, steps = self.mass(pred), normalized_steps(target.size)
        if self.norm == 2:
            return region_distance(mass, target.landmarks, steps)
        lines, sums = marginals(mass), []
        for axis, (line, step) in enumerate(zip(lines, steps, strict=True)):
            places = torch.arange(line.shape[-1], dtype=line.dtype, device=line.device)
            sums.append((line * (places - target.landmarks[..., axis, None]).abs() * step).sum(-1))
        return torch.stack(sums).sum(0) / lines[0].sum(-1)
