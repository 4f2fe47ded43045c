"""Large inputs in overlapping windows, whose maps are fused before they are decoded.

Fused maps are decoded block by block, as soon as the windows of a block have been seen: of every map the
highest pixel so far and a small window about it are kept. Whole maps are needed in these cases, and kept in a
file where they are large: by a codec or decoder that looks at whole maps (``soft_argmax``, ``integral``,
``blob_centroid``); by a softmax over maps that are averaged with those of the mirrored image; by the choice
among several peaks (``shape_prior``), an ensemble that averages maps, and whoever asks for the maps.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmlandmark.datasets.transforms.frame import checked_size
from mmlandmark.inference.running_peaks import RunningPeaks
from mmlandmark.inference.window_blocks import Block, Network, fused_blocks, part
from mmlandmark.models.detectors import BaseDetector, LandmarkDetector
from mmlandmark.structures import Detection

IN_MEMORY = 4 * 2**30  # bytes of fused maps; more are kept in a temporary file


def use_windows(detector: BaseDetector, window: Sequence[int], overlap: float = 0.5) -> None:
    """Let a detector, or every member of an ensemble, see its inputs in windows from now on.

    Mirroring, views, activation and decoding then work on fused maps, as they do on those of a whole input.

    Args:
        detector: In test mode, with its final ``test_cfg``; it is changed.
        window: (*S) pixels of the network's input, multiples of the network's stride.
        overlap: See :func:`windowed_maps`.

    Raises:
        ValueError: ``window`` is no size, ``overlap`` is not in [0, 1), or the detector cannot be seen in
            windows.
    """
    size = checked_size(window, "window")
    if not 0 <= overlap < 1:
        raise ValueError(f"the overlap of windows is a fraction in [0, 1), got {overlap!r}")
    for one in detector.windowed_parts():
        whole = one.raw_maps
        one.raw_maps = partial(windowed_maps, whole, window=size, overlap=overlap)  # type: ignore[method-assign]
        if isinstance(one, LandmarkDetector):
            windows = _Windows(detector, one, whole, size, overlap)
            one.heatmaps = windows.heatmaps  # type: ignore[method-assign]
            one.detect = windows.detect  # type: ignore[method-assign]


class _Windows:
    """What a detector by maps does with an input in windows."""

    def __init__(
        self,
        whole: BaseDetector,
        own: LandmarkDetector,
        raw_maps: Network,
        window: Sequence[int],
        overlap: float,
    ) -> None:
        self.whole, self.own, self.raw_maps = whole, own, raw_maps
        self.window, self.overlap, self.detect_whole = window, overlap, own.detect
        self.heatmaps_whole, self.said = own.heatmaps, False

    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None, spread: bool = False
    ) -> Detection:
        """Return the detection of the whole input; without maps, unless it takes them."""
        head, size = self.own.head, tuple(inputs.shape[2:])
        if len(size) == len(self.window) and all(a >= b for a, b in zip(self.window, size, strict=True)):
            return self.detect_whole(inputs, flip_permutation, spread)
        reason = self.why_whole(flip_permutation is not None)
        if reason:
            self._say(reason)
            return self.detect_whole(inputs, flip_permutation, spread)
        network, finish = self._network(flip_permutation), self._finish(flip_permutation)
        reach = head.codec.reach
        assert reach is not None
        peaks: RunningPeaks | None = None
        for block in fused_blocks(network, inputs, self.window, self.overlap, reach):
            peaks = peaks or RunningPeaks(head.codec, block.size, size)
            peaks.add(block._replace(values=finish(block.values)))
        assert peaks is not None
        found = peaks.detection(head.needs_spread(spread))
        return head.completed(found, size, spread)

    def heatmaps(self, inputs: Tensor, flip_permutation: Sequence[int] | None = None) -> Tensor:
        """Return activated maps of the whole input, in a file where they are large."""
        codec = self.own.head.codec
        if codec.activation_scope is None:
            return self.heatmaps_whole(inputs, flip_permutation)
        blocks = fused_blocks(self._network(flip_permutation), inputs, self.window, self.overlap)
        if codec.activation_scope == "pixel":
            finish = self._finish(flip_permutation)
            return _laid(block._replace(values=finish(block.values)) for block in blocks)
        maps = _laid(blocks)
        for one in maps.flatten(0, 1):  # one map after the other, in place, as they may be in a file
            one.copy_(codec.activate(one[None, None])[0, 0])
        if flip_permutation is None:
            return maps
        count = len(flip_permutation)
        for case in maps:
            for one, other in zip(case[:count], case[count:], strict=True):
                one.add_(other).div_(2)
        return maps[:, :count]

    def why_whole(self, flip: bool) -> str:
        """Return what needs whole maps; empty if nothing does."""
        codec = self.own.head.codec
        if self.whole.needs_maps:
            return "the maps themselves are asked for, averaged, or searched for several peaks"
        if codec.reach is None or codec.activation_scope is None:
            return "codec or decoder look at whole maps"
        if flip and codec.activation_scope == "map":
            return "a softmax of every map is averaged with that of the mirrored image"
        return ""

    def _say(self, reason: str) -> None:
        if not self.said:
            print_log(
                f"fused maps are kept whole, beyond {IN_MEMORY // 2**30} GiB in a temporary file: {reason}",
                "current",
                logging.WARNING,
            )
        self.said = True

    def _network(self, permutation: Sequence[int] | None) -> Network:
        """Return the network of a window; of the mirrored window it gives further maps, behind its own."""
        if permutation is None:
            return self.raw_maps

        def both(inputs: Tensor) -> Tensor:
            mirrored = self.own.head.codec.mirrored(self.raw_maps(inputs.flip(-1)), permutation)
            return torch.cat([self.raw_maps(inputs), mirrored], 1)

        return both

    def _finish(self, permutation: Sequence[int] | None) -> Callable[[Tensor], Tensor]:
        """Return what makes activated maps of fused ones, where that can be done pixel by pixel."""
        codec = self.own.head.codec
        if codec.activation_scope == "map":
            return lambda values: values
        if permutation is None:
            return codec.activate

        def mean(values: Tensor) -> Tensor:
            own, mirrored = codec.activate(values).chunk(2, 1)
            return (own + mirrored) / 2

        return mean


def windowed_maps(
    network: Network,
    inputs: Tensor,
    window: Sequence[int],
    overlap: float = 0.5,
    in_memory: int = IN_MEMORY,
) -> Tensor:
    """Return the raw maps of an input, fused from those of overlapping windows.

    Every window counts by a Gaussian about its centre, of an eighth of its side, as in nnU-Net (Isensee et
    al. 2021), since maps are least certain where the network sees least. The network needs memory for one
    window; the fused maps go to a temporary file where they are too large. If the window covers the input,
    the result is that of the network itself.

    Args:
        network: Raw maps (B, N, *M) of (B, C, *S) images; M is S over a whole number.
        inputs: (B, C, *S).
        window: (*S) pixels; an axis that is longer than the input's is cut to it.
        overlap: Part of a window that its neighbour covers too, along every axis.
        in_memory: Bytes of fused maps that are kept in memory.

    Returns:
        (B, N, *M) float32.

    Raises:
        ValueError: The window has not as many axes as the input, or sizes do not fit the network's stride.
    """
    if all(side >= whole for side, whole in zip(window, inputs.shape[2:], strict=False)) and (
        len(window) == inputs.ndim - 2
    ):
        return network(inputs)
    return _laid(fused_blocks(network, inputs, window, overlap), in_memory)


def _laid(blocks: Iterable[Block], in_memory: int = IN_MEMORY) -> Tensor:
    """Return blocks, whose cores are all that they hold, side by side."""
    maps: Tensor | None = None
    for block in blocks:
        if maps is None:
            maps = _zeros((*block.values.shape[:2], *block.size), block.values.device, in_memory)
        maps[part(block.corner, block.values.shape[2:])] = block.values.to(maps.device)
    assert maps is not None
    return maps


def _zeros(shape: Sequence[int], device: torch.device, in_memory: int) -> Tensor:
    """Return zeros on the device or, if they are too large, in a file that vanishes with the tensor."""
    if 4 * math.prod(shape) <= in_memory:
        return torch.zeros(tuple(shape), device=device)
    with tempfile.NamedTemporaryFile(prefix="mmlandmark_maps_") as file:
        # The mapping keeps the content of the file after its name is gone; what was never written reads as 0.
        file.truncate(4 * math.prod(shape))
        flat = torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=torch.float32)
    return flat.view(tuple(shape))
