"""Exponential Weighted Center loss against an explicit target."""

from __future__ import annotations

from torch import Tensor


def ewc_error(pred: Tensor, target: Tensor, alpha: float) -> Tensor:
    r"""Return the element-wise error :math:`(p - y)^2 \alpha^y` (FARNet, Ao and Wu 2023, eq. 3).

    Args:
        pred: (B, K, *S) predicted heatmaps.
        target: (B, K, *S) target heatmaps in [0, 1].
        alpha: Base of the weight, 40 in the paper; 1 gives the squared error.

    Returns:
        (B, K, *S), float32 or wider.

    Example:
        >>> import torch
        >>> ewc_error(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 1.0]]), alpha=40.0)
        tensor([[ 0.2500, 10.0000]])
    """
    if alpha <= 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    squared = (pred - target).square()
    return squared if alpha == 1 else squared * alpha**target
