"""Losses that compare a heatmap with its target pixel by pixel."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.shared_divisor import shared_divisor
from mmlandmark.ops import ewc_error, ewc_loss, ewc_loss_map
from mmlandmark.registry import MODELS


def compared_maps(pred: Tensor, target: HeatmapTarget) -> Tensor:
    """Return the maps of a prediction that its target's heatmaps are the target of, (B, K, *S).

    Raises:
        ValueError: The prediction has not the target's shape.
    """
    batch, count = target.weights.shape
    expected = (batch, count * target.maps_per_landmark, *target.size)
    if tuple(pred.shape) != expected:
        raise ValueError(f"prediction {tuple(pred.shape)} and target {expected} differ in shape")
    return pred if target.maps_per_landmark == 1 else pred.unflatten(1, (count, -1))[:, :, 0]


class LandmarkLoss(nn.Module, ABC):
    """A loss of predicted maps against a :class:`~mmlandmark.codecs.HeatmapTarget`.

    Args:
        loss_weight: Factor of the loss.
        reduction: ``mean`` over annotated landmarks by their weights, or ``sum`` over landmarks and mean over
            the batch. Of several processes it is the batch of all, see
            :func:`~mmlandmark.models.shared_divisor.shared_divisor`.

    Raises:
        ValueError: ``reduction`` is unknown.

    Subclasses implement :meth:`per_landmark`. Masked landmarks contribute neither to the value nor to
    the count it is divided by; a batch without any landmark has loss 0 and zero gradient. NaN in a
    prediction is never hidden for annotated landmarks; in a masked map it reaches nothing.

    A landmark outside of the map, where a crop or a shift has moved it, is a target like any other: the
    tail of its peak, or background. A map that is a distribution has to be somewhere, so such a landmark
    would pull all of it to the border. A loss with ``of_distributions`` skips landmarks that lie more than
    one sigma outside, as it skips masked ones.

    Attributes:
        of_distributions: Whether the loss takes maps for distributions, of where the landmark lies.
        compares_maps: Whether the target's maps are looked at, which may be a teacher's; else its landmarks.
        of_unit_maps: Whether the loss makes sense only against maps of at most 1, as probabilities are.
    """

    of_distributions = False
    compares_maps = True
    of_unit_maps = False

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        self.loss_weight, self.reduction = loss_weight, reduction

    def seen_maps(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the maps of a prediction that the loss looks at; see :func:`compared_maps`."""
        return compared_maps(pred, target)

    @abstractmethod
    def per_landmark(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the (B, K) loss of every map before masking and weighting."""

    def normalizer(self, target: HeatmapTarget) -> Tensor:
        """Return the divisor of the weighted sum over (B, K): the total weight, or the batch size."""
        if self.reduction == "mean":
            return target.weights.sum()
        return target.weights.new_tensor(float(len(target.weights)))

    def divisor(self, target: HeatmapTarget) -> Tensor:
        """Return what the weighted sum is divided by: the mean of the normalizers of all processes."""
        return shared_divisor(self.normalizer(target))

    def forward(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the scalar loss.

        Args:
            pred: (B, K * M, *S) raw output of the model; of several maps per landmark, only those are seen
                that the target's heatmaps are the target of.
            target: Of the same size.

        Raises:
            ValueError: ``pred`` and ``target`` differ in shape; or a target is higher than 1, against which a
                loss with ``of_unit_maps`` makes no sense.
        """
        pred = self.seen_maps(pred, target)
        if self.of_unit_maps and target.exceeds_unit:
            raise ValueError(
                f"{type(self).__name__} compares with maps of at most 1, those of the codec are higher "
                f"(normalize={target.normalize!r}, scale={target.scale:g}): set head.codec.scale=1, or "
                "train with HeatmapMSELoss"
            )
        target = target.of_inside() if self.of_distributions else target
        # Pixels are summed map by map, in whatever memory format the convolutions left them.
        kind = torch.promote_types(pred.dtype, torch.float32)
        pred = pred.to(kind, memory_format=torch.contiguous_format)
        # NaN in a map that does not count would reach the weights as 0 times NaN, were it left in.
        used = (target.weights > 0).repeat_interleave(pred.shape[1] // target.weights.shape[1], 1)
        pred = torch.where(used.view(*used.shape, *[1] * (pred.ndim - 2)), pred, 0)
        with torch.autocast(pred.device.type, enabled=False):
            values = torch.where(target.weights > 0, self.per_landmark(pred, target), 0)
        total = (values * target.weights).sum()
        return self.loss_weight * total / self.divisor(target)


class HeatmapLoss(LandmarkLoss):
    r"""A pixel-wise loss.

    Args:
        reduction: With w the landmark weights and e the error of a pixel, ``mean`` is
            :math:`\sum w e / (P \sum w)` over batch, landmarks and the P pixels of a map (the plain mean
            when nothing is masked); ``sum`` is :math:`\sum w e / B`: summed over pixels and landmarks,
            averaged over the batch.
        loss_weight: Factor of the loss.
        top: Part of the pixels of a map that count: those of the largest errors. In a volume nearly all
            others are background that has been learned long since. P then is their number.

    Raises:
        ValueError: ``reduction`` is unknown, or ``top`` is not above 0 and at most 1.
    """

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0, top: float = 1.0) -> None:
        super().__init__(loss_weight, reduction)
        if not 0 < top <= 1:
            raise ValueError(f"top is a part of the pixels, above 0 and at most 1, got {top}")
        self.top = top

    @abstractmethod
    def pointwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the error of every pixel, both arguments (B, K, *S) float."""

    def per_landmark(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the error of every map, summed or averaged over its pixels, (B, K)."""
        errors = self.pointwise(pred, target.heatmaps).flatten(2)
        if self.top < 1:
            errors = errors.topk(max(1, round(self.top * errors.shape[-1])), sorted=False).values
        return errors.mean(-1) if self.reduction == "mean" else errors.sum(-1)


class WeightedSquareLoss(HeatmapLoss):
    """A squared error weighted by a power of the target; a Gaussian target is not drawn.

    Args:
        alpha: Base of the weight; 1 for none.
        reduction: See :class:`HeatmapLoss`.
        loss_weight: Factor of the loss.
        top: See :class:`HeatmapLoss`; below 1 the target is drawn.

    Raises:
        ValueError: ``alpha`` is not positive; or see :class:`HeatmapLoss`.
    """

    def __init__(
        self, alpha: float, reduction: str = "mean", loss_weight: float = 1.0, top: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight, top)
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.alpha = alpha

    def forward(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the scalar loss; see :meth:`LandmarkLoss.forward`."""
        if self.top < 1:
            return super().forward(pred, target)
        pred = compared_maps(pred, target)
        divisor = self.divisor(target) * (math.prod(target.size) if self.reduction == "mean" else 1)
        # All factors go into the weights, so that the operator writes the final gradient in one pass.
        weight = self.loss_weight * target.weights / divisor
        options: Any = dict(alpha=self.alpha, mask=target.mask, weight=weight, reduction="sum")
        if target.is_unit_gaussian:
            return ewc_loss(pred, target.landmarks, target.sigma, **options)
        return ewc_loss_map(pred, target.heatmaps, **options)

    def pointwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the weighted squared error."""
        return ewc_error(pred, target, self.alpha)


@MODELS.register_module()
class HeatmapMSELoss(WeightedSquareLoss):
    """Squared error ``(pred - target)^2``; arguments as of :class:`HeatmapLoss`."""

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0, top: float = 1.0) -> None:
        super().__init__(1.0, reduction, loss_weight, top)


@MODELS.register_module()
class EWCLoss(WeightedSquareLoss):
    r"""Exponential Weighted Center loss :math:`(p - y)^2 \alpha^y` (FARNet, Ao and Wu 2023, eq. 3).

    Args:
        alpha: Base of the weight: a pixel weighs 1 far from the landmark and ``alpha`` on it.
        reduction: See :class:`HeatmapLoss`.
        loss_weight: Factor of the loss.
        top: See :class:`HeatmapLoss`.

    Raises:
        ValueError: ``alpha`` is not positive; or see :class:`HeatmapLoss`.
    """

    def __init__(
        self, alpha: float = 40.0, reduction: str = "mean", loss_weight: float = 1.0, top: float = 1.0
    ) -> None:
        super().__init__(alpha, reduction, loss_weight, top)


@MODELS.register_module()
class HeatmapL1Loss(HeatmapLoss):
    """Absolute error."""

    def pointwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return ``|pred - target|``."""
        return (pred - target).abs()


@MODELS.register_module()
class AdaptiveWingLoss(HeatmapLoss):
    """Adaptive Wing loss (Wang et al. 2019, eq. 3): logarithmic near zero error, sharper on the peak.

    Args:
        alpha: Exponent on the background; ``alpha - y`` on a target of height y. Above 1; the publication
            has more than 2.
        omega: Height of the logarithmic part.
        epsilon: Curvature of the logarithmic part.
        theta: Error at which it turns linear.
        reduction: See :class:`HeatmapLoss`.
        loss_weight: Factor of the loss.
        top: See :class:`HeatmapLoss`.

    Raises:
        ValueError: ``alpha`` is not above 1, or ``omega``, ``epsilon`` or ``theta`` not positive; or see
            :class:`HeatmapLoss`.
    """

    of_unit_maps = True

    def __init__(
        self,
        alpha: float = 2.1,
        omega: float = 14.0,
        epsilon: float = 1.0,
        theta: float = 0.5,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        top: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight, top)
        if min(alpha - 1, omega, epsilon, theta) <= 0:
            raise ValueError("AdaptiveWingLoss needs alpha > 1 and positive omega, epsilon and theta")
        self.alpha, self.omega, self.epsilon, self.theta = alpha, omega, epsilon, theta

    def pointwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the adaptive wing error."""
        error = (pred - target).abs()
        power = self.alpha - target
        ratio = self.theta / self.epsilon
        slope = self.omega * power * ratio ** (power - 1) / (self.epsilon * (1 + ratio**power))
        offset = self.theta * slope - self.omega * torch.log1p(ratio**power)
        # Both branches are computed: the power must stay finite in the other one, or its gradient is NaN.
        small = error.clamp(max=self.theta)
        return torch.where(
            error < self.theta,
            self.omega * torch.log1p((small / self.epsilon) ** power),
            slope * error - offset,
        )


@MODELS.register_module()
class HeatmapBCELoss(HeatmapLoss):
    r"""Binary cross-entropy on logits against a target in [0, 1], optionally focal.

    nnLandmark trains with ``top=0.2`` on cones of 15 voxels: ``HeatmapCodec(sigma=15, shape="cone",
    activation="sigmoid")``.

    Args:
        gamma: Focal exponent: the error is multiplied by :math:`|y - \sigma(p)|^\gamma`; 0 is plain BCE.
        pos_weight: Factor of the positive term.
        reduction: See :class:`HeatmapLoss`.
        loss_weight: Factor of the loss.
        top: See :class:`HeatmapLoss`.

    Raises:
        ValueError: ``gamma`` is negative or ``pos_weight`` not positive; or see :class:`HeatmapLoss`.
    """

    of_unit_maps = True

    def __init__(
        self,
        gamma: float = 0.0,
        pos_weight: float = 1.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        top: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight, top)
        if not gamma >= 0 or not pos_weight > 0:
            raise ValueError(
                "HeatmapBCELoss needs gamma of at least 0 and a positive pos_weight, got "
                f"{gamma} and {pos_weight}"
            )
        self.gamma, self.pos_weight = gamma, pos_weight

    def pointwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the (focal) cross-entropy."""
        positive, negative = -F.logsigmoid(pred), -F.logsigmoid(-pred)
        error = self.pos_weight * target * positive + (1 - target) * negative
        return error * (target - pred.sigmoid()).abs() ** self.gamma if self.gamma else error
