"""Activation checkpointing: recompute in the backward pass instead of storing."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run(module: nn.Module, features: Tensor, recompute: bool) -> Tensor:
    """Return ``module(features)``; with ``recompute`` its activations are recomputed for the gradient.

    Unlike plain :func:`torch.utils.checkpoint.checkpoint`, a batch norm inside counts every batch once.
    """
    if not (recompute and torch.is_grad_enabled()):
        return module(features)
    return checkpoint(
        module, features, use_reentrant=False, context_fn=lambda: (nullcontext(), _WithoutStatistics(module))
    )


class _WithoutStatistics:
    """Lets batch norms work as in training without updating their statistics, once per backward pass."""

    def __init__(self, module: nn.Module) -> None:
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self.norms: list[Any] = norms

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 0.0

    def __exit__(self, *_: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
