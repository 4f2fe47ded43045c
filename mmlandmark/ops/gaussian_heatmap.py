r"""Heatmaps with one peak per landmark, evaluated separably wherever the shape allows.

The landmark's centre is continuous: nothing is rounded, cut off or assumed to lie inside the image.

With d the vector from the landmark to a pixel, and :math:`\sigma` one width or one per axis, a peak of height
1 is

- ``gaussian``: :math:`\exp(-\frac12 \sum_a d_a^2 / \sigma_a^2)`
- ``laplace``: :math:`\exp(-\sum_a |d_a| / \sigma_a)`
- ``laplace_l2``: :math:`\exp(-\sqrt{\sum_a d_a^2 / \sigma_a^2})`
- ``disc``: 1 where :math:`\sum_a d_a^2 / \sigma_a^2 \le 1`, else 0
- ``cone``: :math:`\max(0, 1 - \sqrt{\sum_a d_a^2 / \sigma_a^2})`, the blob of nnLandmark: the distance from
  outside of a ball
- ``side_gaussian``: :math:`\exp(-\sum_a d_a^2 / S_a)` with the sides S of the map, whatever sigma is:
  eq. 3 of FSF-LD (Huang et al. 2022) to the letter, with ``scale`` :math:`1 / 2\sigma^2`
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.ops.arguments import checked_mask, checked_sigma, sum_type, width_along
from mmlandmark.ops.backend import backend, is_native
from mmlandmark.ops.first_order import first_order

NATIVE_SHAPES = ("gaussian", "laplace", "disc")  # in the order of csrc/common/peak_shape.h
SHAPES = (*NATIVE_SHAPES, "laplace_l2", "cone", "side_gaussian")
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
    """Draw one heatmap per landmark.

    Differentiable in ``landmarks`` and ``sigma``, to which a disc has no gradient but by its integral.

    Args:
        landmarks: (B, K, D) pixels of the map, (x, y[, z]); NaN means missing.
        size: (*S) of the map in array order.
        sigma: Pixels of the map: scalar, (K,), (B, K), or per axis (B, K, D), (x, y[, z]).
        mask: (B, K) bool; False gives an all-zero map.
        shape: ``gaussian``, ``laplace``, ``disc``, ``laplace_l2``, ``cone`` or ``side_gaussian``: see the
            head of this module. The last three are always in plain PyTorch.
        normalize: ``peak``: the function's maximum is ``scale``; ``sum``: its integral over the infinite
            plane is ``scale``.
        scale: Height or integral, see ``normalize``.
        dtype: Of the result; the landmarks' own by default.

    Returns:
        (B, K, *S) heatmaps.

    Raises:
        ValueError: A shape does not fit or a sigma is not positive; the message names the argument. Or a
            ``side_gaussian`` is requested by its integral.

    Example:
        >>> gaussian_heatmap(torch.tensor([[[1.0, 0.0]]]), (2, 3), 1.0).shape
        torch.Size([1, 1, 2, 3])
    """
    dims = len(size)
    _check_request(landmarks, size, shape, normalize)
    dtype = dtype or landmarks.dtype
    present = checked_mask(mask, landmarks)
    width = checked_sigma(sigma, landmarks, sum_type(dtype))
    # A missing landmark is moved to 0 before any arithmetic, so that no NaN reaches value or gradient.
    points = torch.where(present[..., None], landmarks, 0).to(width.dtype)
    height = present * width.new_full(present.shape, scale)
    if normalize == "sum":
        height = height / _integral(width, shape, dims)
    learns = torch.is_grad_enabled() and (points.requires_grad or width.requires_grad)
    if shape in NATIVE_SHAPES and is_native(points) and not (shape == "disc" and learns):
        return torch.ops.mmlandmark.gaussian_heatmap(
            points, width, height, list(size), NATIVE_SHAPES.index(shape), dtype
        )
    return gaussian_heatmap_reference(points, width, height, size, shape).to(dtype)


def _check_request(landmarks: Tensor, size: Sequence[int], shape: str, normalize: str) -> None:
    """Raise ValueError unless such maps can be drawn around such landmarks."""
    dims = len(size)
    if landmarks.ndim != 3 or landmarks.shape[-1] != dims or dims not in (2, 3):
        raise ValueError(
            f"landmarks must be (B, K, {dims}) for a map of size {tuple(size)}, got {tuple(landmarks.shape)}"
        )
    check_peak(shape, normalize)


def check_peak(shape: str, normalize: str) -> None:
    """Raise ValueError unless :func:`gaussian_heatmap` draws such peaks."""
    if shape not in SHAPES or normalize not in ("peak", "sum"):
        raise ValueError(
            f"shape must be one of {SHAPES} and normalize 'peak' or 'sum', got {shape!r}, {normalize!r}"
        )
    if shape == "side_gaussian" and normalize == "sum":
        raise ValueError("a side_gaussian has no width of its own to normalise by: use normalize='peak'")


def gaussian_heatmap_reference(
    landmarks: Tensor, sigma: Tensor, height: Tensor, size: Sequence[int], shape: str
) -> Tensor:
    """Return what the native operator returns, in plain PyTorch.

    Args:
        landmarks: (B, K, D) finite pixels of the map.
        sigma: (B, K) or (B, K, D), positive.
        height: (B, K) of the peak; 0 draws nothing.
        size: (*S) of the map.
        shape: One of ``SHAPES``.
    """
    ones = [1] * len(size)
    if shape in SEPARABLE_SHAPES:
        heatmaps = _outer(separable_profiles(landmarks, size, sigma, shape), torch.mul)
        return heatmaps * height.reshape(*height.shape, *ones)
    offsets = _offsets(landmarks, size)
    if sigma.ndim == 3:  # distances in widths: from here on every width is 1
        factors = sigma.reciprocal()
        offsets = [o * width_along(factors, _axis_of(i, size))[..., None] for i, o in enumerate(offsets)]
        sigma = torch.ones_like(height)
    squared = _outer([o.square() for o in offsets], torch.add)
    width = sigma.reshape(*sigma.shape, *ones)
    if shape == "disc":
        heatmaps = (squared <= width.square()).to(sigma.dtype)
    else:
        # On the landmark itself the root has no slope; it is drawn without one.
        distance = torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)
        ratio = distance / width
        heatmaps = (1 - ratio).clamp(min=0) if shape == "cone" else torch.exp(-ratio)
    return heatmaps * height.reshape(*height.shape, *ones)


def separable_profiles(
    landmarks: Tensor, size: Sequence[int], sigma: Tensor, shape: str = "gaussian"
) -> list[Tensor]:
    """Return what a map of height 1 is the outer product of: one profile per array axis, (..., z, y, x).

    Args:
        landmarks: (B, K, D) finite pixels of the map, (x, y[, z]).
        size: (*S) of the map in array order.
        sigma: Pixels of the map: scalar, (K,), (B, K), or per axis (B, K, D), (x, y[, z]).
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
    offsets = _offsets(landmarks, size)
    if shape == "side_gaussian":
        return [torch.exp(-o.square() / side) for o, side in zip(offsets, size, strict=True)]
    widths = [width_along(sigma, _axis_of(i, size))[..., None] for i in range(len(size))]
    if shape == "gaussian":
        return [torch.exp(-o.square() / (2 * w.square())) for o, w in zip(offsets, widths, strict=True)]
    return [torch.exp(-o.abs() / w) for o, w in zip(offsets, widths, strict=True)]


def _axis_of(array_axis: int, size: Sequence[int]) -> int:
    """Return the axis of a point, 0 for x, that runs along an axis of the array."""
    return len(size) - 1 - array_axis


def _offsets(points: Tensor, size: Sequence[int]) -> list[Tensor]:
    """Return the (B, K, side) distance of every pixel row from the landmark, per array axis."""
    grids = [torch.arange(side, dtype=points.dtype, device=points.device) for side in size]
    return [grid - points[..., _axis_of(axis, size), None] for axis, grid in enumerate(grids)]


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
    if width.ndim == 3:  # stretched along the axes, the function of width 1 has so many times its integral
        return _integral(width.new_ones(()), shape, dims) * width.prod(-1)
    if shape == "gaussian":
        return (2 * torch.pi * width.square()) ** (dims / 2)
    if shape == "laplace":
        return (2 * width) ** dims
    if shape == "laplace_l2":
        return 2 * torch.pi * width.square() if dims == 2 else 8 * torch.pi * width**3
    if shape == "cone":
        return torch.pi / 3 * width**dims
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
        own = (first_order(slope, landmarks, sigma, height) for slope in slopes)
        return *own, None, None, None

    torch.library.register_autograd("mmlandmark::gaussian_heatmap", _backward, setup_context=_setup)
