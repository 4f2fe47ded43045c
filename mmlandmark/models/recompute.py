"""Activations that are computed again in the backward pass instead of being stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *inputs: Tensor) -> Tensor:
    """Return ``module(*inputs)``; what is inside is forgotten, and computed again for the gradient.

    Unlike plain :func:`torch.utils.checkpoint.checkpoint`, a batch norm inside counts every batch once.
    """
    return checkpoint(
        module,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _without_statistics(module)),
    )


@contextmanager
def _without_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch norms work as in training, but learn nothing."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
