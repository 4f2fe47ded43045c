"""Detections from maps that come block by block: the highest pixel so far, and a small window about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mmlandmark.codecs import BaseCodec
from mmlandmark.inference.window_blocks import Block, part
from mmlandmark.ops import peak
from mmlandmark.structures import Detection, resize_matrix


class RunningPeaks:
    """Decodes maps as :meth:`mmlandmark.codecs.BaseCodec.decode` does, without the maps.

    A codec with a ``reach`` looks at a map only that far from its maximum. So the running maximum of each map
    and the window about it are enough; where activation is a softmax, the running log-sum-exp, too.

    Args:
        codec: With a ``reach``.
        size: (*S) of the maps.
        input_size: (*S) of the network's input.
    """

    def __init__(self, codec: BaseCodec, size: Sequence[int], input_size: Sequence[int]) -> None:
        assert codec.reach is not None
        self.codec, self.size, self.input_size, self.reach = (
            codec,
            tuple(size),
            tuple(input_size),
            codec.reach,
        )
        self._height: Tensor | None = None  # (B, N) of the maximum so far
        self._order: Tensor | None = (
            None  # (B, N) its number in reading order: of equal ones the first counts
        )
        self._sum: Tensor | None = None  # (B, N) of all values, finite only if they are
        self._log_sum: Tensor | None = None  # (B, N) log-sum-exp of all values
        self._windows: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def add(self, block: Block) -> None:
        """Look at a block whose halo is the codec's reach.

        Args:
            block: Of activated values, or of raw ones where the activation needs whole maps.
        """
        first = [a - corner for (a, _), corner in zip(block.core, block.corner, strict=True)]
        core = block.values[part(first, [b - a for a, b in block.core])].contiguous()
        pixels, height = peak(core)
        place = pixels + torch.tensor([first for first, _ in block.core][::-1], device=core.device)
        order = torch.zeros_like(height, dtype=torch.int64)
        for axis, side in enumerate(self.size):
            order = order * side + place[..., len(self.size) - 1 - axis]
        self._add_sums(core)
        if self._height is None or self._order is None:
            self._height, self._order = torch.full_like(height, -torch.inf), torch.zeros_like(order)
        higher = (height > self._height) | ((height == self._height) & (order < self._order))
        if not self._windows:
            higher = torch.ones_like(higher)
        self._height = torch.where(higher, height, self._height)
        self._order = torch.where(higher, order, self._order)
        for case, number in higher.nonzero().tolist():
            self._windows[case, number] = self._window(block, case, number, place[case, number].tolist())

    def _add_sums(self, core: Tensor) -> None:
        flat = core.flatten(2)
        total = flat.sum(-1)
        self._sum = total if self._sum is None else self._sum + total
        if self.codec.activation_scope == "map":
            log_sum = flat.logsumexp(-1).double()
            self._log_sum = log_sum if self._log_sum is None else torch.logaddexp(self._log_sum, log_sum)

    def _window(self, block: Block, case: int, number: int, place: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return a window about a pixel as far as the maps go, and its first pixel (x, y[, z])."""
        sides = []
        for at, corner, whole in zip(reversed(place), block.corner, self.size, strict=True):
            sides.append((max(at - self.reach, 0) - corner, min(at + self.reach + 1, whole) - corner))
        first = [a + corner for (a, _), corner in zip(sides, block.corner, strict=True)]
        values = block.values[case, number][tuple(slice(a, b) for a, b in sides)].clone()
        return values, torch.tensor(first[::-1], device=values.device)

    def detection(self, spread: bool = False) -> Detection:
        """Return what the maps show, (B, N) in input pixels; NaN with score 0 for one that is not finite.

        Args:
            spread: Measure the spread of every landmark, if the codec can.
        """
        assert self._height is not None
        assert self._sum is not None
        batch, count = self._height.shape
        rows = [
            [self._decoded(case, number, count, spread) for number in range(count)] for case in range(batch)
        ]
        spreads = [[one.spread for one in row] for row in rows]
        finite = torch.isfinite(self._sum)
        points = torch.stack([torch.stack([one.points for one in row]) for row in rows])
        scores = torch.stack([torch.stack([one.scores for one in row]) for row in rows])
        found = Detection(
            points=torch.where(finite[..., None], points, torch.nan),
            scores=torch.where(finite, scores, 0),
        )
        if all(one is not None for row in spreads for one in row):
            values = torch.stack([torch.stack(row) for row in spreads])  # type: ignore[arg-type]
            found = replace(found, spread=torch.where(finite[..., None, None], values, torch.nan))
        return found.mapped(resize_matrix(self.size, self.input_size))

    def _decoded(self, case: int, number: int, count: int, spread: bool) -> Detection:
        """Return one landmark in pixels of the maps."""
        values, first = self._windows[case, number]
        if self._log_sum is not None:
            values = self.codec.activate_part(values, self._log_sum[case, number].to(values.dtype))
        # The codec may do something of its own for every landmark, so it gets as many maps as there are.
        maps = values.expand(1, count, *values.shape).contiguous()
        one = self.codec.decode(maps, values.shape, spread)
        own = None if one.spread is None else one.spread[0, number]
        return Detection(one.points[0, number] + first, one.scores[0, number], own)
