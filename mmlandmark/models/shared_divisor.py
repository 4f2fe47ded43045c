"""Means over the whole batch of a step, of which every process has a part."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

_steps = 0  # of wrapped models, that are being computed


def share_batches(wrapper: nn.Module) -> None:
    """Let losses that a model computes take the batches of all processes for one.

    Args:
        wrapper: The model as it is wrapped for several processes: all of them compute its steps together.
            What a process computes outside of these steps is its own.
    """
    wrapper.register_forward_pre_hook(_begin)
    wrapper.register_forward_hook(_end, always_call=True)


def _begin(*_: Any) -> None:
    global _steps
    _steps += 1


def _end(*_: Any) -> None:
    global _steps
    _steps -= 1


def shared_divisor(total: Tensor) -> Tensor:
    """Return what to divide a sum over this process's part of a batch by.

    Several processes average their gradients. If each divided by its own number of annotated landmarks, those
    in a sparsely annotated part would count more. Divided by the mean of these numbers, the average of
    all processes is the mean over the whole batch, as one process would compute it. Every process has to come
    here, as often as the others. Outside of a step that :func:`share_batches` knows of, it is the process's
    own number.

    Args:
        total: Scalar, the number or weight of what this process has summed over.

    Returns:
        A positive scalar of single precision or wider: nothing anywhere gives the smallest number there is,
        since the sum is 0, too.

    Example:
        >>> shared_divisor(torch.tensor(3)).item()
        3.0
    """
    mean = total.detach().to(torch.promote_types(total.dtype, torch.float32), copy=True)
    if _steps:
        all_reduce(mean, op="mean")
    return mean.clamp(min=torch.finfo(mean.dtype).tiny)
