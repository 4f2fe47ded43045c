"""Large inputs in overlapping windows, whose maps are fused before they are decoded."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mmlandmark.datasets.transforms.frame import checked_size
from mmlandmark.models.detectors import BaseDetector, BaseEnsemble

_SIGMAS = 8  # of the weights in the side of a window
IN_MEMORY = 4 * 2**30  # bytes of fused maps; more are kept in a temporary file


def use_windows(detector: BaseDetector, window: Sequence[int], overlap: float = 0.5) -> None:
    """Let a detector, or every member of an ensemble, see its inputs in windows from now on.

    Mirroring, views, activation and decoding then work on fused maps, as they do on those of a whole input.

    Args:
        detector: In test mode; it is changed.
        window: (*S) pixels of the network's input, multiples of the network's stride.
        overlap: See :func:`windowed_maps`.

    Raises:
        ValueError: ``window`` is no size, or ``overlap`` is not in [0, 1).
    """
    size = checked_size(window, "window")
    if not 0 <= overlap < 1:
        raise ValueError(f"the overlap of windows is a fraction in [0, 1), got {overlap!r}")
    for part in detector.modules():
        if isinstance(part, BaseDetector) and not isinstance(part, BaseEnsemble):
            whole = part.raw_maps
            part.raw_maps = partial(windowed_maps, whole, window=size, overlap=overlap)  # type: ignore[method-assign]


def windowed_maps(
    network: Callable[[Tensor], Tensor],
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
    size = tuple(inputs.shape[2:])
    if len(window) != len(size):
        raise ValueError(f"a window of {len(window)} axes {tuple(window)} does not fit an input of {size}")
    window = tuple(min(side, whole) for side, whole in zip(window, size, strict=True))
    if window == size:
        return network(inputs)
    first = network(inputs[_part((0,) * len(size), window)])
    stride = _stride(window, first.shape[2:], size)
    weight = _weight(first.shape[2:], first.device)
    shape = (*first.shape[:2], *(whole // s for whole, s in zip(size, stride, strict=True)))
    fused = _zeros(shape, first.device, in_memory)
    total = torch.zeros(shape[2:], device=first.device)
    corners = itertools.product(*map(partial(_starts, overlap=overlap), size, window, stride))
    for corner in corners:
        maps = first if not any(corner) else network(inputs[_part(corner, window)])
        at = tuple(start // s for start, s in zip(corner, stride, strict=True))
        place = _part(at, maps.shape[2:])
        fused[place] += (maps.float() * weight).to(fused.device)
        total[place[2:]] += weight
    for one in fused.flatten(0, 1):  # one map after the other, as they may be in a file
        one /= total.to(fused.device)
    return fused


def _part(corner: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    """Return what selects a window of (B, C, *S)."""
    return (
        slice(None),
        slice(None),
        *(slice(start, start + side) for start, side in zip(corner, window, strict=True)),
    )


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
    """Return where windows begin along an axis: evenly, from the first pixel to the last."""
    last = (size - window) // stride  # in pixels of the map
    step = max(int(window * (1 - overlap)) // stride, 1)
    count = math.ceil(last / step) + 1
    return [round(i * last / max(count - 1, 1)) * stride for i in range(count)]


def _weight(size: Sequence[int], device: torch.device) -> Tensor:
    """Return the (*S) weights of a window's map."""
    weight = torch.ones((), device=device)
    for side in size:
        places = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (places * (_SIGMAS / side)) ** 2)
    return weight


def _zeros(shape: Sequence[int], device: torch.device, in_memory: int) -> Tensor:
    """Return zeros on the device or, if they are too large, in a file that vanishes with the tensor."""
    if 4 * math.prod(shape) <= in_memory:
        return torch.zeros(tuple(shape), device=device)
    with tempfile.NamedTemporaryFile(prefix="mmlandmark_maps_") as file:
        # The mapping keeps the content of the file after its name is gone; what was never written reads as 0.
        file.truncate(4 * math.prod(shape))
        flat = torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=torch.float32)
    return flat.view(tuple(shape))
