"""Expectations of coordinates or features under the weights of a heatmap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.ops.arguments import check_maps, result_like, sum_type
from mmlandmark.ops.backend import backend, is_native
from mmlandmark.ops.first_order import first_order

MODES = ("softmax", "sigmoid")
# A map whose highest logit is below this is raised to it. Down there the sigmoid is the exponential function
# to all digits of float64, so that shares stay as they are; they would vanish below -87 in 32 bits.
LOWEST_LOGIT = -40.0


def soft_argmax(heatmaps: Tensor, beta: float = 1.0, mode: str = "softmax") -> Tensor:
    r"""Return the expected coordinate of every map.

    Args:
        heatmaps: (B, K, *S) values or logits.
        beta: Sharpness, positive; the weights of ``softmax`` are :math:`e^{\beta h} / \sum e^{\beta h}`.
        mode: ``softmax``, or ``sigmoid`` for :math:`\sigma(\beta h) / \sum \sigma(\beta h)`, the integral of
            sigmoid maps over their sum (shape-regulated self-training, eq. 2).

    Returns:
        (B, K, D) pixels of the map, (x, y[, z]), float32 or wider.

    Raises:
        ValueError: ``heatmaps`` has another shape, ``beta`` is not positive or ``mode`` is unknown.

    Note:
        A softmax over many pixels of a map that peaks at 1 leaves most of its mass on the background
        unless beta is large: it is a regulariser, not a decoder, below about beta = 20.

    Example:
        >>> heatmaps = torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 1.0]]]])
        >>> soft_argmax(heatmaps, beta=50.0)
        tensor([[[3.5000, 0.0000]]])
    """
    return _expectation(heatmaps, None, beta, mode)


def spatial_expectation(
    heatmaps: Tensor, features: Tensor, beta: float = 1.0, mode: str = "softmax"
) -> Tensor:
    """Return the expectation of feature maps under the weights of every heatmap.

    With maps of x and y this is :func:`soft_argmax`; with maps of radius and angle it gives the spatial
    configuration features of a landmark. Differentiable in ``heatmaps``.

    Args:
        heatmaps: (B, K, *S) values or logits.
        features: (d, *S), constants, 1 <= d <= 8; the same for all images and landmarks.
        beta: Sharpness, positive.
        mode: See :func:`soft_argmax`.

    Returns:
        (B, K, d), float32 or wider.

    Raises:
        ValueError: A shape does not fit, or ``features`` require a gradient.

    Example:
        >>> spatial_expectation(torch.zeros(1, 1, 1, 3), torch.tensor([[[0.0, 1.0, 5.0]]]))
        tensor([[[2.]]])
    """
    check_maps(heatmaps, "heatmaps")
    if features.ndim != heatmaps.ndim - 1 or features.shape[1:] != heatmaps.shape[2:] or not len(features):
        raise ValueError(
            f"features must be (d, *S) with *S = {tuple(heatmaps.shape[2:])}, got {tuple(features.shape)}"
        )
    if len(features) > 8:
        raise ValueError(f"features must be at most 8 maps, got {len(features)}: take them in parts")
    if features.requires_grad:
        raise ValueError("features are constants: detach() them, or sum over softmax(heatmaps) yourself")
    return _expectation(heatmaps, features.to(sum_type(heatmaps.dtype)), beta, mode)


def _expectation(heatmaps: Tensor, features: Tensor | None, beta: float, mode: str) -> Tensor:
    check_maps(heatmaps, "heatmaps")
    if mode not in MODES:
        raise ValueError(f"mode must be 'softmax' or 'sigmoid', got {mode!r}")
    if not beta > 0:
        raise ValueError(f"beta must be positive, got {beta}")
    if mode == "sigmoid":
        heatmaps = lifted(heatmaps, beta)
    if is_native(heatmaps):
        sigmoid = mode == "sigmoid"
        return torch.ops.mmlandmark.spatial_expectation(heatmaps, features, float(beta), sigmoid)[0]
    return spatial_expectation_reference(heatmaps, features, beta, mode)


def lifted(logits: Tensor, beta: float = 1.0) -> Tensor:
    """Return logits (B, K, *S), those of maps that are very low everywhere raised by a constant.

    Args:
        logits: Raw maps.
        beta: Their factor before the sigmoid.
    """
    highest = logits.detach().flatten(2).amax(-1).view(*logits.shape[:2], *[1] * (logits.ndim - 2))
    return logits + (LOWEST_LOGIT / beta - highest).clamp(min=0)


def spatial_expectation_reference(
    heatmaps: Tensor, features: Tensor | None, beta: float, mode: str
) -> Tensor:
    """Return what the native operator returns, in plain PyTorch; ``features`` None stands for x, y[, z]."""
    flat = heatmaps.flatten(2).to(sum_type(heatmaps.dtype)) * beta
    weights = flat.softmax(-1) if mode == "softmax" else flat.sigmoid()
    if mode == "sigmoid":
        weights = weights / weights.sum(-1, keepdim=True)
    if features is None:
        features = coordinate_maps(heatmaps.shape[2:], weights)
    with torch.autocast(heatmaps.device.type, enabled=False):
        return weights @ features.flatten(1).mT


def coordinate_maps(size: Sequence[int], like: Tensor) -> Tensor:
    """Return (D, *S) maps of x, y[, z]."""
    axes = [torch.arange(side, dtype=like.dtype, device=like.device) for side in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])


if backend().name == "native":

    @torch.library.register_fake("mmlandmark::spatial_expectation")
    def _(heatmaps, features, beta, sigmoid):
        count = heatmaps.ndim - 2 if features is None else features.shape[0]
        return result_like(heatmaps, (*heatmaps.shape[:2], count)), result_like(
            heatmaps, (*heatmaps.shape[:2], 2)
        )

    @torch.library.register_fake("mmlandmark::spatial_expectation_backward")
    def _(gradient, heatmaps, features, expectation, state, beta, sigmoid):
        return heatmaps.new_empty(heatmaps.shape)

    def _setup(ctx, inputs, output):
        heatmaps, features, ctx.beta, ctx.sigmoid = inputs
        expectation, state = output
        ctx.mark_non_differentiable(state)
        ctx.save_for_backward(heatmaps, features, expectation, state)

    def _backward(ctx, gradient, _):
        heatmaps, features, expectation, state = ctx.saved_tensors
        slopes = torch.ops.mmlandmark.spatial_expectation_backward(
            gradient, heatmaps, features, expectation, state, ctx.beta, ctx.sigmoid
        )
        return first_order(slopes, heatmaps), None, None, None

    torch.library.register_autograd("mmlandmark::spatial_expectation", _backward, setup_context=_setup)
