r"""Exponential Weighted Center loss :math:`(p - y)^2 \alpha^y` (FARNet, Ao and Wu 2023, eq. 3).

Against a Gaussian the target y is never in memory: loss and gradient come from one read of the prediction.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmlandmark.ops.arguments import check_maps, checked_mask, checked_sigma, sum_type
from mmlandmark.ops.backend import backend, is_native
from mmlandmark.ops.first_order import anchor_of, first_order
from mmlandmark.ops.gaussian_heatmap import gaussian_heatmap

REDUCTIONS = ("mean", "sum", "none")


def ewc_loss(
    pred: Tensor,
    landmarks: Tensor,
    sigma: float | Tensor,
    alpha: float = 40.0,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return the EWC loss of heatmaps against Gaussians of height 1; ``alpha=1`` is the squared error.

    Differentiable in ``pred``; in ``landmarks``, ``sigma`` and ``weight`` too, by an explicit target.

    Args:
        pred: (B, K, *S) predicted heatmaps; sums are made in float32 (float64 for float64).
        landmarks: (B, K, D) pixels of the map, (x, y[, z]); NaN means missing.
        sigma: Pixels of the map: scalar, (K,), (B, K), or per axis (B, K, D), (x, y[, z]).
        alpha: Base of the weight: a pixel weighs 1 far from the landmark and ``alpha`` on it.
        mask: (B, K) bool; a map where it is False does not count, even if it holds NaN.
        weight: (B, K) weights w of the landmarks; 1 by default.
        reduction: With e the error of a pixel: ``mean`` is :math:`\sum w e / (P \sum w)` over the P pixels
            of a map, ``sum`` is :math:`\sum w e`, ``none`` the (B, K) sums over the pixels.

    Returns:
        Scalar or (B, K) loss, float32 or wider.

    Raises:
        ValueError: A shape does not fit, ``sigma`` or ``alpha`` is not positive.

    Example:
        >>> landmarks = torch.tensor([[[2.0, 1.0]]])
        >>> ewc_loss(gaussian_heatmap(landmarks, (4, 5), 1.0), landmarks, 1.0)
        tensor(0.)
    """
    check_maps(pred, "pred")
    dtype = sum_type(pred.dtype)
    if landmarks.shape != (*pred.shape[:2], pred.ndim - 2):
        raise ValueError(
            f"landmarks must be {(*pred.shape[:2], pred.ndim - 2)} for maps {tuple(pred.shape)}, got "
            f"{tuple(landmarks.shape)}"
        )
    if landmarks.device != pred.device:
        raise ValueError(f"landmarks are on {landmarks.device}, pred is on {pred.device}: move one of them")
    present = checked_mask(mask, landmarks)
    width = checked_sigma(sigma, landmarks, dtype)
    factor, divisor = _factor(pred, present, weight, reduction)
    points = torch.where(present[..., None], landmarks, 0).to(dtype)
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (points, width, factor))
    if learns or not is_native(pred):
        target = gaussian_heatmap(points, pred.shape[2:], width, mask=present)
        return _reduced(ewc_loss_reference(pred, target, factor / divisor, alpha), reduction)
    losses, _ = torch.ops.mmlandmark.ewc_loss(
        pred, points, width, factor / divisor, _log(alpha), _in_one_pass(pred)
    )
    return _reduced(losses, reduction)


def ewc_loss_map(
    pred: Tensor,
    target: Tensor,
    alpha: float = 40.0,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the EWC loss against a given target (B, K, *S); otherwise as :func:`ewc_loss`.

    Raises:
        ValueError: The shapes differ, or ``alpha`` is not positive.

    Example:
        >>> ewc_loss_map(torch.full((1, 1, 1, 2), 0.5), torch.tensor([[[[0.0, 1.0]]]]), reduction="sum")
        tensor(10.2500)
    """
    check_maps(pred, "pred")
    if target.shape != pred.shape:
        raise ValueError(f"target must be {tuple(pred.shape)} as pred, got {tuple(target.shape)}")
    present = torch.ones(pred.shape[:2], dtype=torch.bool, device=pred.device)
    if mask is not None:
        present = checked_mask(mask, pred.new_zeros((*pred.shape[:2], 1)))
    factor, divisor = _factor(pred, present, weight, reduction)
    learns = torch.is_grad_enabled() and (target.requires_grad or factor.requires_grad)
    if learns or not is_native(pred):
        return _reduced(ewc_loss_reference(pred, target, factor / divisor, alpha), reduction)
    losses, _ = torch.ops.mmlandmark.ewc_loss_map(
        pred, target.to(pred.dtype), factor / divisor, _log(alpha), _in_one_pass(pred)
    )
    return _reduced(losses, reduction)


def ewc_error(pred: Tensor, target: Tensor, alpha: float) -> Tensor:
    r"""Return the error of every pixel, :math:`(p - y)^2 \alpha^y`.

    Args:
        pred: (B, K, *S) predicted heatmaps.
        target: (B, K, *S) target heatmaps in [0, 1].
        alpha: Base of the weight, 40 in the paper; 1 gives the squared error.

    Returns:
        (B, K, *S), float32 or wider.

    Example:
        >>> ewc_error(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 1.0]]), alpha=40.0)
        tensor([[ 0.2500, 10.0000]])
    """
    if alpha <= 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    squared = (pred - target).square()
    return squared if alpha == 1 else squared * alpha**target


def ewc_loss_reference(pred: Tensor, target: Tensor, factor: Tensor, alpha: float) -> Tensor:
    """Return the (B, K) sums of the errors times ``factor`` (B, K), in plain PyTorch."""
    dtype, counts = sum_type(pred.dtype), factor != 0
    # A map that does not count may hold NaN: zero times its slope would be NaN, too.
    pred = torch.where(counts.reshape(*counts.shape, *[1] * (pred.ndim - 2)), pred.to(dtype), 0)
    errors = ewc_error(pred, target.to(dtype), alpha).flatten(2).sum(-1)
    return torch.where(counts, errors, 0) * factor


def _log(alpha: float) -> float:
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    return math.log(alpha)


def _factor(pred: Tensor, present: Tensor, weight: Tensor | None, reduction: str) -> tuple[Tensor, Tensor]:
    """Return the (B, K) factors of the maps' sums, and the divisor of all."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    factor = present.to(sum_type(pred.dtype))
    if weight is not None:
        if weight.shape != present.shape:
            raise ValueError(f"weight must be {tuple(present.shape)}, got {tuple(weight.shape)}")
        factor = torch.where(present, weight.to(factor.dtype), 0)
    if reduction != "mean":
        return factor, factor.new_ones(())
    total = factor.sum() * math.prod(pred.shape[2:])
    return factor, total.clamp(min=torch.finfo(total.dtype).tiny)


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses if reduction == "none" else losses.sum()


def _in_one_pass(pred: Tensor) -> bool:
    """Return whether the gradient is written together with the loss, from one read of ``pred``.

    The upstream gradient is 1 as a rule, which costs nothing to check on a CPU. On a GPU the check would wait
    for the device: there the backward writes the gradient, times the upstream one. So it does for float16,
    in which an upstream gradient that scales the loss is infinite, and a gradient without it often 0.
    """
    if pred.device.type != "cpu" or pred.dtype == torch.float16:
        return False
    return pred.requires_grad and torch.is_grad_enabled()


def _scaled(slopes: Tensor, gradient: Tensor) -> Tensor:
    """Return slopes (B, K, *S) times (B, K); themselves if that is all ones."""
    # While torch.compile traces, there is no value to check.
    if type(gradient) is Tensor and bool((gradient == 1).all()):
        return slopes
    return slopes * gradient.reshape(*gradient.shape, *[1] * (slopes.ndim - 2)).to(slopes.dtype)


if backend().name == "native":

    def _fake_loss(pred, factor, with_slopes):
        losses = torch.empty_like(factor, memory_format=torch.contiguous_format)
        shape = pred.shape if with_slopes else (0,)
        return losses, pred.new_empty(shape)

    @torch.library.register_fake("mmlandmark::ewc_loss")
    def _(pred, landmarks, sigma, factor, log_alpha, with_slopes):
        return _fake_loss(pred, factor, with_slopes)

    @torch.library.register_fake("mmlandmark::ewc_loss_map")
    def _(pred, target, factor, log_alpha, with_slopes):
        return _fake_loss(pred, factor, with_slopes)

    def _setup(ctx, inputs, output):
        *tensors, ctx.log_alpha, with_slopes = inputs
        _, slopes = output
        ctx.mark_non_differentiable(slopes)
        ctx.set_materialize_grads(False)  # no map of zeros for the slopes
        ctx.anchor = anchor_of(tensors[0])
        ctx.save_for_backward(*([slopes] if with_slopes else tensors))

    def _backward_of(operator):
        def backward(ctx, gradient, _):
            if gradient is None:
                return (None,) * len(ctx.needs_input_grad)
            saved = ctx.saved_tensors
            if len(saved) == 1:
                slopes = _scaled(*saved, gradient)
            else:
                *tensors, factor = saved
                slopes = operator(*tensors, factor * gradient, ctx.log_alpha, True)[1]
            return first_order(slopes, ctx.anchor), *[None] * (len(ctx.needs_input_grad) - 1)

        return backward

    for _name in ("ewc_loss", "ewc_loss_map"):
        torch.library.register_autograd(
            f"mmlandmark::{_name}",
            _backward_of(getattr(torch.ops.mmlandmark, _name)),
            setup_context=_setup,
        )
