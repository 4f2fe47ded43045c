"""Networks of one shape, with weights of their own, run as one over maps that they share or do not share.

Maps are (B, C, *S), the same for all K networks, or (B, K, C, *S), of each its own. Convolutions of what is
shared are computed once, and K convolutions of the same map are one; grouped convolutions do the rest. This
is for test mode: the gradient reaches all K, and batch norms use their statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

_BLOCKS = (ConvModule, _ConvNd)


def folded(function: Callable[[Tensor], Tensor], maps: Tensor, dims: int) -> Tensor:
    """Return what a function of (B, C, *S) makes of maps, of (B, K, C, *S) as of so many cases."""
    if maps.ndim == dims + 2:
        return function(maps)
    return function(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])


class OneForAll(nn.Module):
    """A convolution, with its norm and activation, that all K networks have in common.

    Args:
        block: The convolution.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block, self.dims = block, _conv_of(block).weight.ndim - 2

    def convolved(self, maps: Tensor, columns: Sequence[slice], bias: bool) -> Tensor:
        """Return (B, C', *S) or (B, K, C', *S): what some of the channels add to a convolution.

        Args:
            maps: (B, C, *S) or (B, K, C, *S).
            columns: Channels of the weight that they are.
            bias: Add the bias.
        """
        conv = _conv_of(self.block)
        weight, add = _columns(conv.weight, columns), conv.bias if bias else None
        return folded(lambda one: _convolve(conv, one, weight, add), maps, self.dims)

    def finished(self, maps: Tensor) -> Tensor:
        """Return convolved maps behind norm and activation."""
        if not isinstance(self.block, ConvModule):
            return maps
        return folded(lambda one: _finish(self.block, one), maps, self.dims)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C', *S) or (B, K, C', *S)."""
        return self.finished(self.convolved(maps, [slice(None)], bias=True))


class SideBySide(nn.Module):
    """Convolutions of one shape, with their norms and activations: one of each of K networks.

    Args:
        blocks: K convolutions.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks, self.dims = list(blocks), _conv_of(blocks[0]).weight.ndim - 2

    def convolved(self, maps: Tensor, columns: Sequence[slice], bias: bool) -> Tensor:
        """Return (B, K, C', *S), see :meth:`OneForAll.convolved`."""
        convs = [_conv_of(block) for block in self.blocks]
        weight = torch.cat([_columns(conv.weight, columns) for conv in convs])
        add = torch.cat([conv.bias for conv in convs]) if bias and convs[0].bias is not None else None
        own = maps.ndim == self.dims + 3
        result = _convolve(
            convs[0], maps.flatten(1, 2) if own else maps, weight, add, len(convs) if own else 1
        )
        return result.unflatten(1, (len(convs), -1))

    def finished(self, maps: Tensor) -> Tensor:
        """Return convolved maps (B, K, C', *S) behind norms and activations."""
        first: Any = self.blocks[0]
        if not isinstance(first, ConvModule):
            return maps
        norms: list[Any] = [block.norm for block in self.blocks] if first.with_norm else []
        if all(isinstance(norm, _BatchNorm) and norm.track_running_stats for norm in norms):
            maps = _batch_normed(norms, maps) if norms else maps
            return first.activate(maps) if first.with_activation else maps
        each = zip(self.blocks, maps.unbind(1), strict=True)
        return torch.stack([_finish(block, own) for block, own in each], 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, K, C', *S)."""
        return self.finished(self.convolved(maps, [slice(None)], bias=True))


def for_all(module: nn.Module) -> nn.Module:
    """Return a module of convolutions as one that takes maps of both kinds."""
    return _rebuilt([module], lambda blocks: OneForAll(blocks[0]))


def side_by_side(modules: Sequence[nn.Module]) -> nn.Module:
    """Return K modules of convolutions, alike but for their weights, as one that takes maps of both kinds."""
    return _rebuilt(modules, SideBySide)


def run_joined(module: nn.Module, parts: Sequence[Tensor], dims: int) -> Tensor:
    """Return what a module of both kinds of maps makes of maps joined along channels.

    Where shared maps meet others, the first convolution of a sequence takes each of both by itself: it is
    linear.

    Args:
        module: Of :func:`for_all` or :func:`side_by_side`.
        parts: (B, C, *S) or (B, K, C, *S), in the order of the module's input channels.
        dims: 2 or 3.

    Returns:
        (B, K, C', *S), or (B, C', *S) of one for all that has seen shared maps only.
    """
    axis = -dims - 1
    kinds = {part.ndim for part in parts}
    if len(kinds) == 1:
        return module(torch.cat(list(parts), axis))
    count = max(parts, key=lambda part: part.ndim).shape[1]
    if not isinstance(module, nn.Sequential | OneForAll | SideBySide):
        own = [p if p.ndim == dims + 3 else p[:, None].expand(-1, count, *p.shape[1:]) for p in parts]
        return module(torch.cat(own, axis))
    layers: list[Any] = list(module) if isinstance(module, nn.Sequential) else [module]
    first, *rest = layers
    ends = torch.tensor([part.shape[axis] for part in parts]).cumsum(0).tolist()
    columns = [slice(end - part.shape[axis], end) for part, end in zip(parts, ends, strict=True)]
    total: Tensor | None = None
    for kind in sorted(kinds):
        some = [n for n, part in enumerate(parts) if part.ndim == kind]
        maps = torch.cat([parts[n] for n in some], axis)
        result = first.convolved(maps, [columns[n] for n in some], bias=total is None)
        result = result if result.ndim == dims + 3 else result[:, None]
        total = result if total is None else total + result
    assert total is not None
    total = first.finished(total)
    for layer in rest:
        total = layer(total)
    return total


def _rebuilt(modules: Sequence[nn.Module], make: Callable[[Sequence[Any]], nn.Module]) -> nn.Module:
    """Return a tree of modules with something else in place of its convolutions."""
    first = modules[0]
    if isinstance(first, _BLOCKS):
        return make(modules)
    twin = copy.copy(first)
    children = {name: [module.get_submodule(name) for module in modules] for name in first._modules}
    twin._modules = {name: _rebuilt(own, make) for name, own in children.items()}
    return twin


def _conv_of(block: Any) -> Any:
    return block.conv if isinstance(block, ConvModule) else block


def _columns(weight: Tensor, columns: Sequence[slice]) -> Tensor:
    parts = [weight[:, one] for one in columns]
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def _convolve(conv: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, groups: int = 1) -> Tensor:
    function: Any = F.conv2d if weight.ndim == 4 else F.conv3d
    return function(maps, weight, bias, conv.stride, conv.padding, conv.dilation, groups)


def _finish(block: Any, maps: Tensor) -> Tensor:
    maps = block.norm(maps) if block.with_norm else maps
    return block.activate(maps) if block.with_activation else maps


def _batch_normed(norms: Sequence[Any], maps: Tensor) -> Tensor:
    """Return maps (B, K, C, *S) behind K batch norms, by their statistics."""
    names = ("running_mean", "running_var", "weight", "bias")
    values = [
        None if getattr(norms[0], name) is None else torch.cat([getattr(norm, name) for norm in norms])
        for name in names
    ]
    mean, variance, weight, bias = values
    joined = F.batch_norm(maps.flatten(1, 2), mean, variance, weight, bias, eps=norms[0].eps)
    return joined.unflatten(1, maps.shape[1:3])
