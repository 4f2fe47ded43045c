"""Heatmaps with one peak per landmark, evaluated separably wherever the shape allows.

The landmark's centre is continuous: nothing is rounded, cut off or assumed to lie inside the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.ops.arguments import checked_mask, checked_sigma, sum_type
from mmlandmark.ops.backend import backend, is_native

NATIVE_SHAPES = ("gaussian", "laplace", "disc")  # in the order of csrc/common/peak_shape.h
SHAPES = (*NATIVE_SHAPES, "laplace_l2", "side_gaussian")
SEPARABLE_SHAPES = ("gaussian", "laplace", "side_gaussian")


def gaussian_heatmap(
    landmarks: Tensor,
    size: Sequence[int],
    sigma: float | Tensor,
    *,
    mask: Tensor | None = None,
    shape: str = "gaussian",
    normalize: str = "peak",
    scale: float = 1.0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Draw one heatmap per landmark.

    With d the vector from the landmark to a pixel: ``gaussian`` is :math:`\exp(-|d|_2^2 / 2\sigma^2)`,
    ``laplace`` is :math:`\exp(-|d|_1 / \sigma)`, ``laplace_l2`` is :math:`\exp(-|d|_2 / \sigma)` and ``disc``
    is 1 where :math:`|d|_2 \le \sigma`. ``side_gaussian`` is :math:`\exp(-\sum_a d_a^2 / S_a)` with the sides
    S of the map, whatever sigma is: eq. 3 of FSF-LD (Huang et al. 2022) to the letter, with ``scale``
    :math:`1 / 2\sigma^2`.
    Differentiable in ``landmarks`` and ``sigma`` (a disc has zero gradient).

    Args:
        landmarks: (B, K, D) pixels of the map, (x, y[, z]); NaN means missing.
        size: (*S) of the map in array order.
        sigma: Scalar, (K,) or (B, K), pixels of the map.
        mask: (B, K) bool; False gives an all-zero map.
        shape: ``gaussian``, ``laplace``, ``disc``, or in plain PyTorch always: ``laplace_l2``,
            ``side_gaussian``.
        normalize: ``peak``: the function's maximum is ``scale``; ``sum``: its integral over the infinite
            plane is ``scale``.
        scale: Height or integral, see ``normalize``.
        dtype: Of the result; the landmarks' own by default.

    Returns:
        (B, K, *S) heatmaps.

    Raises:
        ValueError: A shape does not fit or a sigma is not positive; the message names the argument. A
            ``side_gaussian`` is asked for by its integral.

    Example:
        >>> gaussian_heatmap(torch.tensor([[[1.0, 0.0]]]), (2, 3), 1.0).shape
        torch.Size([1, 1, 2, 3])
    """
    dims = len(size)
    if landmarks.ndim != 3 or landmarks.shape[-1] != dims or dims not in (2, 3):
        raise ValueError(
            f"landmarks must be (B, K, {dims}) for a map of size {tuple(size)}, got {tuple(landmarks.shape)}"
        )
    if shape not in SHAPES or normalize not in ("peak", "sum"):
        raise ValueError(
            f"shape must be one of {SHAPES} and normalize 'peak' or 'sum', got {shape!r}, {normalize!r}"
        )
    if shape == "side_gaussian" and normalize == "sum":
        raise ValueError("a side_gaussian has no width of its own to normalise by: use normalize='peak'")
    dtype = dtype or landmarks.dtype
    present = checked_mask(mask, landmarks)
    width = checked_sigma(sigma, landmarks, sum_type(dtype))
    # A missing landmark is moved to 0 before any arithmetic, so that no NaN reaches value or gradient.
    points = torch.where(present[..., None], landmarks, 0).to(width.dtype)
    height = present * torch.full_like(width, scale)
    if normalize == "sum":
        height = height / _integral(width, shape, dims)
    learns = torch.is_grad_enabled() and (points.requires_grad or width.requires_grad)
    if shape in NATIVE_SHAPES and is_native(points) and not (shape == "disc" and learns):
        return torch.ops.mmlandmark.gaussian_heatmap(
            points, width, height, list(size), NATIVE_SHAPES.index(shape), dtype
        )
    return gaussian_heatmap_reference(points, width, height, size, shape).to(dtype)


def gaussian_heatmap_reference(
    landmarks: Tensor, sigma: Tensor, height: Tensor, size: Sequence[int], shape: str
) -> Tensor:
    """Return what the native operator returns, in plain PyTorch.

    Args:
        landmarks: (B, K, D) finite pixels of the map.
        sigma: (B, K) positive.
        height: (B, K) of the peak; 0 draws nothing.
        size: (*S) of the map.
        shape: One of ``SHAPES``.
    """
    ones = [1] * len(size)
    if shape == "disc":
        squared = _outer([o.square() for o in _offsets(landmarks, size)], torch.add)
        heatmaps = (squared <= sigma.reshape(*sigma.shape, *ones).square()).to(sigma.dtype)
    elif shape == "laplace_l2":
        squared = _outer([o.square() for o in _offsets(landmarks, size)], torch.add)
        # On the landmark itself the root has no slope; it is drawn without one.
        distance = torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)
        heatmaps = torch.exp(-distance / sigma.reshape(*sigma.shape, *ones))
    else:
        heatmaps = _outer(separable_profiles(landmarks, size, sigma, shape), torch.mul)
    return heatmaps * height.reshape(*height.shape, *ones)


def separable_profiles(
    landmarks: Tensor, size: Sequence[int], sigma: Tensor, shape: str = "gaussian"
) -> list[Tensor]:
    """Return what a map of height 1 is the outer product of: one profile per array axis, (..., z, y, x).

    Args:
        landmarks: (B, K, D) finite pixels of the map, (x, y[, z]).
        size: (*S) of the map in array order.
        sigma: (B, K) or scalar pixels of the map.
        shape: ``gaussian``, ``laplace`` or ``side_gaussian``.

    Returns:
        D tensors (B, K, side).

    Example:
        >>> rows = separable_profiles(torch.tensor([[[1.0, 0.0]]]), (2, 3), torch.tensor(1.0))
        >>> [tuple(row.shape) for row in rows]
        [(1, 1, 2), (1, 1, 3)]
    """
    if shape not in SEPARABLE_SHAPES:
        raise ValueError(f"shape must be one of {SEPARABLE_SHAPES} for an outer product, got {shape!r}")
    offsets, width = _offsets(landmarks, size), sigma[..., None]
    if shape == "side_gaussian":
        return [torch.exp(-o.square() / side) for o, side in zip(offsets, size, strict=True)]
    if shape == "gaussian":
        return [torch.exp(-o.square() / (2 * width.square())) for o in offsets]
    return [torch.exp(-o.abs() / width) for o in offsets]


def _offsets(points: Tensor, size: Sequence[int]) -> list[Tensor]:
    """Return the (B, K, side) distance of every pixel row from the landmark, per array axis."""
    grids = [torch.arange(side, dtype=points.dtype, device=points.device) for side in size]
    return [grid - points[..., len(size) - 1 - axis, None] for axis, grid in enumerate(grids)]


def _outer(rows: list[Tensor], combine) -> Tensor:
    """Combine one (B, K, side) profile per array axis to (B, K, *S)."""
    result = rows[0]
    for row in rows[1:]:
        result = combine(
            result[..., None], row.reshape(*row.shape[:2], *[1] * (result.ndim - 2), row.shape[-1])
        )
    return result


def _integral(width: Tensor, shape: str, dims: int) -> Tensor:
    """Integral of a peak-1 function over the whole plane or space, (B, K)."""
    if shape == "gaussian":
        return (2 * torch.pi * width.square()) ** (dims / 2)
    if shape == "laplace":
        return (2 * width) ** dims
    if shape == "laplace_l2":
        return 2 * torch.pi * width.square() if dims == 2 else 8 * torch.pi * width**3
    return torch.pi * width.square() if dims == 2 else 4 / 3 * torch.pi * width**3


if backend().name == "native":

    @torch.library.register_fake("mmlandmark::gaussian_heatmap")
    def _(landmarks, sigma, height, size, shape, dtype):
        return landmarks.new_empty((*landmarks.shape[:2], *size), dtype=dtype)

    @torch.library.register_fake("mmlandmark::gaussian_heatmap_backward")
    def _(gradient, landmarks, sigma, height, shape):
        return (
            torch.empty_like(landmarks, memory_format=torch.contiguous_format),
            torch.empty_like(sigma, memory_format=torch.contiguous_format),
            torch.empty_like(height, memory_format=torch.contiguous_format),
        )

    def _setup(ctx, inputs, output):
        landmarks, sigma, height, _, ctx.shape, _ = inputs
        ctx.save_for_backward(landmarks, sigma, height)

    def _backward(ctx, gradient):
        landmarks, sigma, height = ctx.saved_tensors
        # Sums are made in the landmarks' type, whatever the maps were written in.
        gradient = gradient.to(landmarks.dtype)
        slopes = torch.ops.mmlandmark.gaussian_heatmap_backward(gradient, landmarks, sigma, height, ctx.shape)
        return *slopes, None, None, None

    torch.library.register_autograd("mmlandmark::gaussian_heatmap", _backward, setup_context=_setup)
