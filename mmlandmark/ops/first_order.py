"""Native operators know their first derivatives only, and say so where a second one is asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Anchor(torch.autograd.Function):
    """An empty tensor that depends on another one and does not keep it in memory."""

    @staticmethod
    def forward(ctx: Any, origin: Tensor) -> Tensor:
        return origin.new_empty(0)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        return None


class _FirstOrder(torch.autograd.Function):
    """Hands a gradient on; whoever differentiates it is told that it knows no derivative."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *origins: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(
            "native operators have no second derivatives: compute what needs them within "
            "mmlandmark.ops.using_reference()"
        )


def anchor_of(origin: Tensor) -> Tensor | None:
    """Return what stands for the input of an operator in :func:`first_order`, without its memory.

    Args:
        origin: Of any shape, in the forward pass of an operator. While ``torch.compile`` traces, there is
            no second derivative to ask for, and the result is None.
    """
    if type(origin) not in (Tensor, torch.nn.Parameter):
        return None
    with torch.enable_grad():
        return _Anchor.apply(origin)


def first_order(gradient: Tensor, *origins: Tensor | None) -> Tensor:
    """Return a native operator's gradient, which raises RuntimeError when it is differentiated itself.

    Otherwise it would count as a constant, and a penalty of it would have no effect.

    Args:
        gradient: Of any shape, in the backward pass of an operator.
        origins: What it depends on: inputs of the operator, or their anchors.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> first_order(torch.ones(2), x).sum().backward()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        RuntimeError: native operators have no second derivatives: ...
    """
    if not torch.is_grad_enabled():  # a backward pass without create_graph
        return gradient
    return _FirstOrder.apply(gradient, *[origin for origin in origins if origin is not None])
