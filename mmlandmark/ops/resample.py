"""Sampling of a volume, or of an image, at the pixels of another frame, in the type of its pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlandmark.ops.backend import backend

INTERPOLATIONS = ("linear", "nearest")  # in the order of csrc/resample/row_kernels.h
BORDERS = ("constant", "replicate", "reflect")
_NATIVE_TYPES = (torch.uint8, torch.int16, torch.uint16, torch.float16, torch.float32)
_PADDING = dict(constant="zeros", replicate="border", reflect="reflection")


def resample(
    image: Tensor,
    matrix: Tensor,
    size: Sequence[int],
    *,
    displacement: Tensor | None = None,
    step: Sequence[int] | None = None,
    interpolation: str = "linear",
    border: str = "constant",
    value: float = 0.0,
) -> Tensor:
    """Read an image at ``matrix @ q + displacement(q)`` for all pixels q of a frame.

    A native operator for the CPU, in as many threads as PyTorch uses, without a copy of the image and without
    coordinates in memory. It has no gradient. The twin in plain PyTorch serves everything else: it makes a
    grid of coordinates, and floats of all pixels.

    Args:
        image: (*S) of two or three dimensions, strided as it likes; its integers are rounded and clipped.
        matrix: (D+1, D+1) from pixels of the frame to pixels of the image.
        size: (*S) of the frame.
        displacement: (D, *L) in pixels of the image, (x, y[, z]), at the pixels 0, ``step``, 2 ``step``, ...
            of the frame along every axis, which it covers; linear in between.
        step: (*S) pixels between two nodes of the displacement; None is 1.
        interpolation: "linear" or "nearest".
        border: Values outside of the image: "constant", "replicate" or "reflect" (about the outer edges).
        value: Pixel value outside if ``border`` is "constant".

    Returns:
        (*size), contiguous, in the type of ``image``.

    Raises:
        ValueError: A shape, a type or a name is wrong.

    Example:
        >>> image = torch.tensor([[0, 100, 200]], dtype=torch.uint8)
        >>> half_a_pixel = torch.tensor([[1, 0, 0.5], [0, 1, 0], [0, 0, 1]])
        >>> resample(image, half_a_pixel, (1, 3), value=9)
        tensor([[ 50, 150, 104]], dtype=torch.uint8)
    """
    step = [1] * image.ndim if step is None else list(step)
    _check(image, matrix, size, displacement, step, interpolation, border)
    matrix = matrix.to("cpu", torch.float64)
    if is_native(image):
        volume, whole, nodes, more = _as_volume(image, matrix, displacement)
        how = INTERPOLATIONS.index(interpolation), BORDERS.index(border), float(value)
        result = torch.ops.mmlandmark.resample(volume, whole, [*more, *size], nodes, [*more, *step], *how)
        return result.view(tuple(size))
    return resample_reference(image, matrix, size, displacement, step, interpolation, border, value)


def is_native(image: Tensor) -> bool:
    """Return whether the native operator reads an image: of this type, on this device, without a gradient."""
    # A build from before this operator has all the others.
    built = backend().name == "native" and hasattr(torch.ops.mmlandmark, "resample")
    needs_gradient = torch.is_grad_enabled() and image.requires_grad
    return built and image.device.type == "cpu" and image.dtype in _NATIVE_TYPES and not needs_gradient


def _check(
    image: Tensor,
    matrix: Tensor,
    size: Sequence[int],
    displacement: Tensor | None,
    step: Sequence[int],
    interpolation: str,
    border: str,
) -> None:
    dims = image.ndim
    if dims not in (2, 3) or image.numel() == 0:
        raise ValueError(f"image must be (*S) with 2 or 3 dimensions, got {tuple(image.shape)}")
    if matrix.shape != (dims + 1, dims + 1):
        raise ValueError(f"matrix must be ({dims + 1}, {dims + 1}), got {tuple(matrix.shape)}")
    if not torch.isfinite(matrix).all():
        raise ValueError(f"matrix must be finite, got {matrix.tolist()}")
    if len(size) != dims:
        raise ValueError(f"size must have {dims} sides, got {tuple(size)}")
    if len(step) != dims or min(step) < 1:
        raise ValueError(f"step must be {dims} positive numbers, got {step!r}")
    if displacement is not None and (displacement.ndim != dims + 1 or len(displacement) != dims):
        raise ValueError(f"displacement must be ({dims}, *L), got {tuple(displacement.shape)}")
    if displacement is not None and any(
        (n - 1) * s < side - 1 for n, s, side in zip(displacement.shape[1:], step, size, strict=True)
    ):
        raise ValueError(
            f"displacement {tuple(displacement.shape)} does not cover {tuple(size)} with a node at every "
            f"{tuple(step)} pixels"
        )
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}")
    if border not in BORDERS:
        raise ValueError(f"border must be one of {BORDERS}, got {border!r}")


def _as_volume(
    image: Tensor, matrix: Tensor, displacement: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, list[int]]:
    """Return the arguments with three dimensions, and the sides that this adds: an image becomes a slice."""
    nodes = None if displacement is None else displacement.to("cpu", torch.float32)
    if image.ndim == 3:
        return image, matrix, nodes, []
    whole = torch.eye(4, dtype=torch.float64)
    rows = torch.tensor([0, 1, 3])
    whole[rows[:, None], rows] = matrix
    if nodes is not None:
        nodes = torch.cat([nodes, torch.zeros_like(nodes[:1])])[:, None]
    return image[None], whole, nodes, [1]


def resample_reference(
    image: Tensor,
    matrix: Tensor,
    size: Sequence[int],
    displacement: Tensor | None,
    step: Sequence[int],
    interpolation: str,
    border: str,
    value: float,
) -> Tensor:
    """Return what the native operator returns, in plain PyTorch."""
    work = torch.promote_types(image.dtype, torch.float32)
    places = _positions(matrix.to(image.device), size, displacement, step)
    sides = torch.tensor(image.shape[::-1], dtype=torch.float64, device=image.device)
    # From pixels to [-1, 1], which ends at the outer edges of the outer pixels.
    grid = ((places * 2 + 1) / sides - 1).to(work)
    # PyTorch pads with zeros; subtracting the value before and adding it after makes that the value.
    shift = value if border == "constant" else 0.0
    sampled = F.grid_sample(
        (image.to(work) - shift)[None, None],
        grid[None],
        mode="nearest" if interpolation == "nearest" else "bilinear",
        padding_mode=_PADDING[border],
        align_corners=False,
    ).reshape(tuple(size))
    sampled = sampled + shift
    if image.dtype.is_floating_point:
        return sampled.to(image.dtype)
    limits = torch.iinfo(image.dtype)
    return sampled.round().clamp(limits.min, limits.max).to(image.dtype)


def _positions(
    matrix: Tensor, size: Sequence[int], displacement: Tensor | None, step: Sequence[int]
) -> Tensor:
    """Return (*S, D) float64, where every pixel of the frame is read."""
    dims, device = len(size), matrix.device
    axes = [torch.arange(side, dtype=torch.float64, device=device) for side in size]
    pixels = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
    places = pixels @ matrix[:dims, :dims].T + matrix[:dims, dims]
    if displacement is None:
        return places
    nodes = displacement.to(device, torch.float64)
    for axis, pixel in enumerate(axes):  # linear along one axis after the other
        before = torch.div(pixel, step[axis], rounding_mode="floor").long()
        after = (before + 1).clamp(max=nodes.shape[axis + 1] - 1)
        weight = (pixel / step[axis] - before).view(-1, *[1] * (dims - 1 - axis))
        lower, upper = nodes.index_select(axis + 1, before), nodes.index_select(axis + 1, after)
        nodes = lower + weight * (upper - lower)
    return places + nodes.movedim(0, -1)


if backend().name == "native" and hasattr(torch.ops.mmlandmark, "resample"):

    @torch.library.register_fake("mmlandmark::resample")
    def _(volume, matrix, size, displacement, step, interpolation, border, value):
        return volume.new_empty(size)
