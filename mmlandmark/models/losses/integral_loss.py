"""Losses of where the mass of a whole map lies."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.losses.heatmap_loss import LandmarkLoss
from mmlandmark.ops import centroid, soft_argmax
from mmlandmark.ops.soft_argmax import lifted
from mmlandmark.registry import MODELS

ACTIVATIONS = (None, "sigmoid", "softmax")
# The least mass of a pixel without activation: a map without positive values lies everywhere, not nowhere.
LEAST_MASS = 1e-12


def normalized_steps(size: Sequence[int]) -> list[float]:
    """Return the length of a pixel along x, y[, z] where the centres of all pixels fill [0, 1].

    Example:
        >>> normalized_steps((3, 5))
        [0.25, 0.5]
    """
    return [1.0 / max(side - 1, 1) for side in reversed(size)]


class IntegralLoss(LandmarkLoss):
    """A loss of how the mass of every activated map is spread over all its pixels.

    A landmark more than one sigma outside of the map is skipped, since no mass can lie there.
    Coordinates are normalised: 0 is the centre of the first pixel along an axis and 1 that of the last.

    Args:
        activation: What turns raw maps into mass: ``sigmoid``, ``softmax``, or None for the positive part of
            a map. A head fills in that of its codec.
        beta: Factor of the raw maps before the activation, without one a power of them. Above 1 the loss
            looks at the peaks and less at a faint background, which another loss may have left: a map that
            was learned by :class:`SpatialCrossEntropyLoss` has a good peak and yet a fifth of its mass
            elsewhere.
        reduction: See :class:`LandmarkLoss`.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: ``activation`` or ``reduction`` is unknown, or ``beta`` is not positive.
    """

    of_distributions = True
    compares_maps = False

    def __init__(
        self,
        activation: str | None = None,
        beta: float = 1.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight, reduction)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, got {activation!r}")
        if not beta > 0:
            raise ValueError(f"beta must be positive, got {beta}")
        self.activation, self.beta = activation, float(beta)

    def mass(self, pred: Tensor) -> Tensor:
        """Return maps (B, K, *S) that are positive somewhere, in proportion to the activated ones."""
        if self.activation is None:
            mass = pred.clamp(min=LEAST_MASS)
            if self.beta == 1:
                return mass
            # As a part of the highest one: small numbers to a power vanish in 32 bits.
            highest = mass.detach().flatten(2).amax(-1).view(*mass.shape[:2], *[1] * (mass.ndim - 2))
            return (mass / highest) ** self.beta
        logits = pred if self.beta == 1 else pred * self.beta
        if self.activation == "sigmoid":
            return lifted(logits).sigmoid()
        return logits.flatten(2).softmax(-1).view(pred.shape)

    def coordinates(self, pred: Tensor) -> Tensor:
        """Return the centre of mass of every raw map, (B, K, D) pixels of the map (Chen et al., eq. 2)."""
        if self.activation is None:
            return centroid(self.mass(pred))
        return soft_argmax(pred, self.beta, self.activation)


@MODELS.register_module()
class IntegralL1Loss(IntegralLoss):
    r"""Distance of the integral coordinate from the landmark, :math:`|\sum_p H(p) p / \sum_p H(p) - g|_1`.

    The loss of pre-training in shape-regulated self-training (Chen et al., eqs. 1 and 2, section 3.3.2), in
    normalised coordinates.

    A sigmoid map that starts at 0.5 everywhere is all background, which keeps every coordinate at the centre:
    start a head with ``bias_init=-8``, see ``docs/networks.md``.

    Args:
        activation: See :class:`IntegralLoss`.
        beta: Likewise.
        reduction: Likewise. The publication's sum over landmarks is ``sum``.
        loss_weight: Factor of the loss.
    """

    def per_landmark(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the sum of absolute errors along the axes, (B, K)."""
        error = (self.coordinates(pred) - target.landmarks).abs()
        return (error * error.new_tensor(normalized_steps(target.size))).sum(-1)
