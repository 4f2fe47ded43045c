"""Fused maps of overlapping windows, block by block, as soon as no window that is left changes them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

_SIGMAS = 8  # of the weights in the side of a window

Network = Callable[[Tensor], Tensor]


class Block(NamedTuple):
    """A part of fused maps.

    Attributes:
        corner: (*S) its first pixel in the maps.
        core: (first, end) by axis, in pixels of the maps: every pixel is in the core of one block.
        values: (B, N, *S') raw values, of the core and of pixels about it.
        size: (*S) of the maps.
    """

    corner: tuple[int, ...]
    core: tuple[tuple[int, int], ...]
    values: Tensor
    size: tuple[int, ...]


@dataclass(frozen=True)
class WindowGrid:
    """Windows over an input, evenly from its first pixel to its last one.

    Attributes:
        window: (*S) pixels of the input.
        stride: (*S) pixels of the input per pixel of the map.
        side: (*S) pixels of a window's map.
        size: (*S) of the whole maps.
        starts: By axis the first pixels of the windows, in the map.
    """

    window: tuple[int, ...]
    stride: tuple[int, ...]
    side: tuple[int, ...]
    size: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def over(
        cls, size: Sequence[int], window: Sequence[int], maps: Sequence[int], overlap: float
    ) -> WindowGrid:
        """Return the windows over an input.

        Args:
            size: (*S) of the input.
            window: (*S), at most as large.
            maps: (*S) of the maps of one window.
            overlap: See :func:`~mmlandmark.inference.sliding_window.windowed_maps`.

        Raises:
            ValueError: Sizes do not fit the network's stride.
        """
        stride = _stride(window, maps, size)
        whole = tuple(s // step for s, step in zip(size, stride, strict=True))
        starts = map(partial(_starts, overlap=overlap), size, window, stride)
        return cls(tuple(window), stride, tuple(maps), whole, tuple(map(tuple, starts)))

    def weights(self, axis: int, device: torch.device) -> list[Tensor]:
        """Return how much every window counts along an axis, (side,) each: at every pixel they sum to 1."""
        side = self.side[axis]
        places = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
        own = torch.exp(-0.5 * (places * (_SIGMAS / side)) ** 2)
        total = torch.zeros(self.size[axis], device=device)
        for start in self.starts[axis]:
            total[start : start + side] += own
        return [own / total[start : start + side] for start in self.starts[axis]]


def fused_blocks(
    network: Network, inputs: Tensor, window: Sequence[int], overlap: float, halo: int = 0
) -> Iterator[Block]:
    """Yield the fused maps of an input in blocks, in the order of the windows.

    What is kept is the overlap of a window with the next one along the first axis, over the other axes
    whole, and ``2 * halo`` pixels more.

    Args:
        network: Raw maps (B, N, *M) of (B, C, *S) images; M is S over a whole number.
        inputs: (B, C, *S).
        window: (*S) pixels; an axis that is longer than the input's is cut to it.
        overlap: See :func:`~mmlandmark.inference.sliding_window.windowed_maps`.
        halo: Pixels of the maps about every core that its block holds too, inside of the maps.

    Raises:
        ValueError: The window has not as many axes as the input, or sizes do not fit the network's stride.
    """
    size = tuple(inputs.shape[2:])
    if len(window) != len(size):
        raise ValueError(f"a window of {len(window)} axes {tuple(window)} does not fit an input of {size}")
    window = tuple(min(side, whole) for side, whole in zip(window, size, strict=True))
    first = network(inputs[part((0,) * len(size), window)])
    grid = WindowGrid.over(size, window, first.shape[2:], overlap)
    weights = [grid.weights(axis, first.device) for axis in range(len(size))]

    def weighted(index: tuple[int, ...]) -> Tensor:
        corner = [starts[i] * s for starts, i, s in zip(grid.starts, index, grid.stride, strict=True)]
        maps = network(inputs[part(corner, window)]) if any(index) else first
        return maps.float() * _outer([weights[axis][i] for axis, i in enumerate(index)])

    blocks: Iterable[Block] = _summed(weighted, grid, ())
    if halo:
        for axis in range(len(size)):
            blocks = _with_halo(blocks, axis, halo)
    yield from blocks


def part(corner: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """Return what selects a part of (B, C, *S): (*S) its first pixel, (*S) its size."""
    sides = (slice(start, start + side) for start, side in zip(corner, size, strict=True))
    return (slice(None), slice(None), *sides)


def _summed(
    weighted: Callable[[tuple[int, ...]], Tensor], grid: WindowGrid, index: tuple[int, ...]
) -> Iterator[Block]:
    """Yield the sums of all windows that share the given numbers along the first axes.

    Along those axes a block is as long as a window; along the others it is what no later window changes.
    """
    axis = len(index)
    if axis == len(grid.size):
        yield Block((), (), weighted(index), grid.size)
        return
    starts, side = grid.starts[axis], grid.side[axis]
    waiting: dict[tuple[int, ...], Tensor] = {}
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else start + side
        for corner, core, values, _ in _summed(weighted, grid, (*index, number)):
            before = waiting.pop(corner, None)
            if before is not None:
                values.narrow(2 + axis, 0, before.shape[2 + axis]).add_(before)
            done = values.narrow(2 + axis, 0, end - start)
            if end < start + side:
                waiting[corner] = values.narrow(2 + axis, end - start, start + side - end).clone()
            yield Block((start, *corner), ((start, end), *core), done, grid.size)


def _with_halo(blocks: Iterable[Block], axis: int, halo: int) -> Iterator[Block]:
    """Yield blocks with what lies before them along an axis, and with cores that end before they do."""
    tails: dict[tuple[int, ...], Tensor] = {}
    for corner, core, values, size in blocks:
        start, end = core[axis]
        key = corner[axis + 1 :]
        if start > 0:
            values = torch.cat([tails[key], values], 2 + axis)
        length = values.shape[2 + axis]
        tail = min(2 * halo, length)
        tails[key] = values.narrow(2 + axis, length - tail, tail).clone()
        first, last = max(start - halo, 0), end if end == size[axis] else max(end - halo, 0)
        at = (*corner[:axis], end - length, *corner[axis + 1 :])
        if last > first:
            yield Block(at, (*core[:axis], (first, last), *core[axis + 1 :]), values, size)


def _stride(window: Sequence[int], maps: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    """Return the pixels of the input per pixel of the map, by axis."""
    stride = tuple(side // small for side, small in zip(window, maps, strict=True))
    fits = all(
        s > 0 and s * small == side and whole % s == 0
        for s, small, side, whole in zip(stride, maps, window, size, strict=True)
    )
    if not fits:
        raise ValueError(
            f"a window of {tuple(window)} gives maps of {tuple(maps)}, which cannot be laid side by side "
            f"over an input of {tuple(size)}: take windows and inputs of multiples of the network's stride"
        )
    return stride


def _starts(size: int, window: int, stride: int, overlap: float) -> list[int]:
    """Return where windows begin along an axis, in the map: evenly, and the same in a mirrored input."""
    last = (size - window) // stride
    step = max(int(window * (1 - overlap)) // stride, 1)
    count = math.ceil(last / step) + 1
    count += count % 2 * last % 2  # the one in the middle would begin between two pixels
    half = [math.floor(i * last / max(count - 1, 1) + 0.5) for i in range((count + 1) // 2)]
    return half + [last - start for start in reversed(half[: count // 2])]


def _outer(factors: Sequence[Tensor]) -> Tensor:
    """Return the outer product (*S) of a vector per axis."""
    product = factors[0]
    for factor in itertools.islice(factors, 1, None):
        product = product[..., None] * factor
    return product
