"""The highest pixel of a heatmap, and a position between the pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmlandmark.ops.arguments import check_maps, result_like, sum_type
from mmlandmark.ops.backend import backend, is_native
from mmlandmark.ops.local_window import local_window

REFINEMENTS = ("none", "centroid", "quadratic", "log_quadratic")  # in the order of csrc/common/refined_peak.h


def refined_peak(
    heatmaps: Tensor, method: str = "none", radius: int = 0, smooth: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the first maximum of every map, and from it a position between the pixels.

    The native operator has no gradient and fits no maps with a side of 1; there the twin in plain PyTorch is
    used.

    Args:
        heatmaps: (B, K, *S).
        method: ``none``; ``centroid``, see :func:`local_centroid`; ``quadratic`` and ``log_quadratic``, see
            :func:`quadratic_peak`.
        radius: Of the window of ``centroid``, pixels.
        smooth: Of the two fits, pixels.

    Returns:
        (B, K, D) points, float32 or wider, (B, K, D) int64 pixels of the maxima, both (x, y[, z]), and their
        (B, K) values.

    Example:
        >>> points, pixels, values = refined_peak(torch.tensor([[[[0.0, 0.6, 0.4, 0.0]]]]), "centroid", 1)
        >>> points.tolist(), pixels.tolist()
        ([[[1.399999976158142, 0.0]]], [[[1, 0]]])
    """
    check_maps(heatmaps, "heatmaps")
    if method not in REFINEMENTS:
        raise ValueError(f"method must be one of {REFINEMENTS}, got {method!r}")
    if radius < 0 or smooth < 0:
        raise ValueError(f"radius and smooth must not be negative, got {radius} and {smooth}")
    fits_flat = method in REFINEMENTS[2:] and 1 in heatmaps.shape[2:]
    if is_native(heatmaps) and not fits_flat and not (torch.is_grad_enabled() and heatmaps.requires_grad):
        points, pixels, values = torch.ops.mmlandmark.refined_peak(
            heatmaps, REFINEMENTS.index(method), int(radius), float(smooth)
        )
        return points, pixels, values.to(heatmaps.dtype)
    return refined_peak_reference(heatmaps, method, radius, smooth)


def refined_peak_reference(
    heatmaps: Tensor, method: str, radius: int, smooth: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the native operator returns, in plain PyTorch."""
    pixels, values = _peak_reference(heatmaps)
    if method == "none":
        return pixels.to(sum_type(heatmaps.dtype)), pixels, values
    if method == "centroid":
        return _centroid_reference(heatmaps, pixels, radius), pixels, values
    return quadratic_fit(heatmaps, pixels, method == "log_quadratic", smooth), pixels, values


def peak(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first maximum of every map.

    Args:
        heatmaps: (B, K, *S).

    Returns:
        (B, K, D) int64 pixel of the maximum, (x, y[, z]), and its (B, K) value.

    Example:
        >>> peak(torch.tensor([[[[0.0, 0.1, 0.0], [0.0, 0.0, 0.9]]]]))
        (tensor([[[2, 1]]]), tensor([[0.9000]]))
    """
    return refined_peak(heatmaps)[1:]


def local_centroid(heatmaps: Tensor, radius: int) -> Tensor:
    """Refine every maximum to the centroid of the positive values around it.

    Args:
        heatmaps: (B, K, *S).
        radius: Of the window, pixels; shrinks towards the border so that it stays symmetric.

    Returns:
        (B, K, D) float pixels, (x, y[, z]).

    Example:
        >>> local_centroid(torch.tensor([[[[0.0, 0.0, 0.25, 0.5, 0.25, 0.0, 0.0]]]]), radius=2)
        tensor([[[3., 0.]]])
        >>> local_centroid(torch.tensor([[[[0.0, 0.0, 0.0, 0.6, 0.4, 0.0, 0.0]]]]), radius=2)
        tensor([[[3.4000, 0.0000]]])
    """
    return refined_peak(heatmaps, "centroid", radius=radius)[0]


def quadratic_peak(heatmaps: Tensor, log: bool = False, smooth: float = 0.0) -> Tensor:
    """Refine every maximum by one Newton step of a second-order fit to its neighbours.

    Without ``log`` this is the quadratic sub-pixel maximum; with it the fit is made to the logarithm,
    which is exact for a Gaussian (DARK, Zhang et al. 2020, eq. 9, with ``smooth`` for its eq. 10). The
    step is limited to half a pixel per axis (one with ``smooth``, which may move the maximum); none is
    taken where the peak touches the border or the fit is not a maximum. An axis of side 1 has no part in it.

    Args:
        heatmaps: (B, K, *S).
        log: Fit the logarithm of the map.
        smooth: Standard deviation in pixels of a Gaussian the neighbourhood is smoothed with first.

    Returns:
        (B, K, D) float pixels, (x, y[, z]).

    Example:
        >>> from mmlandmark.ops import gaussian_heatmap
        >>> heatmaps = gaussian_heatmap(torch.tensor([[[4.3, 5.8]]]), (12, 12), 2.0)
        >>> quadratic_peak(heatmaps, log=True)
        tensor([[[4.3000, 5.8000]]])
    """
    return refined_peak(heatmaps, "log_quadratic" if log else "quadratic", smooth=smooth)[0]


def _peak_reference(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    value, index = heatmaps.flatten(2).max(-1)
    coordinates = []
    for side in reversed(heatmaps.shape[2:]):
        coordinates.append(index % side)
        index = torch.div(index, side, rounding_mode="floor")
    return torch.stack(coordinates, -1), value


def _centroid_reference(heatmaps: Tensor, center: Tensor, radius: int) -> Tensor:
    values, inside = local_window(heatmaps, center, radius)
    work = torch.promote_types(values.dtype, torch.float32)
    # A pixel counts only if its mirror image about the centre lies inside too: no pull at the border.
    inside = inside & inside.flip(list(range(2, inside.ndim)))
    weights = torch.where(inside, values.clamp(min=0), 0).to(work)
    total = weights.flatten(2).sum(-1)
    shift = []
    steps = torch.arange(-radius, radius + 1, device=values.device, dtype=work)
    for axis in range(values.ndim - 1, 1, -1):
        others = [a for a in range(2, values.ndim) if a != axis]
        shift.append((weights.sum(others) * steps).sum(-1) / total.clamp(min=torch.finfo(work).tiny))
    return center.to(work) + torch.where(total[..., None] > 0, torch.stack(shift, -1), 0)


def quadratic_fit(heatmaps: Tensor, center: Tensor, log: bool = False, smooth: float = 0.0) -> Tensor:
    """Return the points that :func:`quadratic_peak` finds from given pixels instead of the maxima.

    In plain PyTorch, since it looks at a few pixels only.

    Args:
        heatmaps: (B, K, *S).
        center: (B, K, D) int64 pixels, (x, y[, z]), inside the map.
        log: Fit the logarithm of the map.
        smooth: Standard deviation in pixels of a Gaussian the neighbourhood is smoothed with first.

    Returns:
        (B, K, D) float pixels, (x, y[, z]).

    Example:
        >>> from mmlandmark.ops import gaussian_heatmap
        >>> heatmaps = gaussian_heatmap(torch.tensor([[[4.3, 5.8]]]), (12, 12), 2.0)
        >>> quadratic_fit(heatmaps, torch.tensor([[[4, 6]]]), log=True)
        tensor([[[4.3000, 5.8000]]])
    """
    work = torch.promote_types(heatmaps.dtype, torch.float32)
    reach = int(-(-3 * smooth // 1))
    values, inside = local_window(heatmaps, center, 1 + reach)
    values = values.to(work)
    height = values.flatten(2)[..., math.prod(values.shape[2:]) // 2]
    if reach:
        values = _smooth_valid(values, smooth, reach)
        for axis in range(2, inside.ndim):
            inside = inside.narrow(axis, reach, 3)
    if log:
        floor = (height.abs() * 1e-6).clamp(min=torch.finfo(work).tiny)
        values = torch.maximum(values, floor.reshape(*floor.shape, *[1] * (values.ndim - 2))).log()
    gradient, hessian, touching = _derivatives(values, inside)
    if 1 in heatmaps.shape[2:]:  # an axis without neighbours, along which no fit would be a maximum
        keep = gradient.new_tensor([float(side > 1) for side in reversed(heatmaps.shape[2:])])
        gradient, hessian = gradient * keep, hessian * keep * keep[:, None] - torch.diag(1 - keep)
    # Take no step unless the fit is a proper maximum: a saddle would send the point away from the peak.
    eye = torch.eye(hessian.shape[-1], dtype=work, device=hessian.device)
    finite = torch.isfinite(gradient).all(-1) & torch.isfinite(hessian).flatten(-2).all(-1)
    proper = finite & _positive_definite(-hessian - torch.finfo(work).eps * 1e-3 * eye)
    safe = torch.where(proper[..., None, None], hessian, -eye)
    step = -_solved(safe, torch.where(proper[..., None], gradient, 0))
    limit = 1.0 if reach else 0.5
    return center.to(work) + torch.where(touching, 0, step).clamp(-limit, limit)


def _smooth_valid(values: Tensor, sigma: float, reach: int) -> Tensor:
    """Smooth (B, K, *W) windows by a Gaussian, keeping the part that needs no padding."""
    steps = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-steps.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    for axis in range(2, values.ndim):
        # No product of matrices: ONNX Runtime 1.32 fuses that of a window with what is around it, wrongly.
        values = (values.unfold(axis, len(steps), 1) * kernel).sum(-1)
    return values


# In closed form, as in csrc: programs outside of PyTorch know no eigenvalues.
def _positive_definite(matrices: Tensor) -> Tensor:
    """Return whether symmetric (..., D, D) matrices are positive definite, by Sylvester's criterion."""
    corners = [_determinant(matrices[..., :n, :n]) > 0 for n in range(1, matrices.shape[-1] + 1)]
    return torch.stack(corners).all(0)


def _solved(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return (..., D), which symmetric (..., D, D) matrices map to ``vectors`` (..., D), by Cramer's rule."""
    columns = range(matrices.shape[-1])
    replaced = [torch.stack([vectors if i == j else matrices[..., j] for j in columns], -1) for i in columns]
    return torch.stack([_determinant(m) for m in replaced], -1) / _determinant(matrices)[..., None]


def _determinant(matrices: Tensor) -> Tensor:
    """Return the determinants of (..., D, D), D at most 3."""
    if matrices.shape[-1] == 1:
        return matrices[..., 0, 0]
    if matrices.shape[-1] == 2:
        return matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]
    return (torch.linalg.cross(matrices[..., 0], matrices[..., 1]) * matrices[..., 2]).sum(-1)


def _derivatives(values: Tensor, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Central differences of (B, K, 3, ..., 3) windows: gradient, Hessian and which axes touch the border."""
    dims = values.ndim - 2

    def at(window: Tensor, steps: dict[int, int]) -> Tensor:
        """Value of the window that many pixels along coordinates from its centre."""
        # Coordinates run against the array's axes: coordinate i is axis dims - 1 - i.
        for axis in reversed(range(dims)):
            window = window.select(2 + axis, 1 + steps.get(dims - 1 - axis, 0))
        return window

    middle = at(values, {})
    gradient, touching, rows = [], [], []
    for i in range(dims):
        after, before = at(values, {i: 1}), at(values, {i: -1})
        gradient.append((after - before) / 2)
        touching.append(~(at(inside, {i: 1}) & at(inside, {i: -1})))
        row = []
        for j in range(dims):
            if i == j:
                row.append(after - 2 * middle + before)
            else:
                same = at(values, {i: 1, j: 1}) + at(values, {i: -1, j: -1})
                row.append((same - at(values, {i: 1, j: -1}) - at(values, {i: -1, j: 1})) / 4)
        rows.append(torch.stack(row, -1))
    return torch.stack(gradient, -1), torch.stack(rows, -2), torch.stack(touching, -1)


if backend().name == "native":

    @torch.library.register_fake("mmlandmark::refined_peak")
    def _(heatmaps, method, radius, smooth):
        points = (*heatmaps.shape[:2], heatmaps.ndim - 2)
        values = result_like(heatmaps, heatmaps.shape[:2])
        return result_like(heatmaps, points), result_like(heatmaps, points, torch.int64), values
