"""From heatmaps to coordinates: expectation over all pixels, and refined peaks."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_argmax(heatmaps: Tensor, beta: float = 1.0, mode: str = "softmax") -> Tensor:
    r"""Return the expected coordinate of every map.

    Args:
        heatmaps: (B, K, *S) values or logits.
        beta: Sharpness; the weights of ``softmax`` are :math:`e^{\beta h} / \sum e^{\beta h}`.
        mode: ``softmax``, or ``sigmoid`` for :math:`\sigma(\beta h) / \sum \sigma(\beta h)`.

    Returns:
        (B, K, D) pixels of the map, (x, y[, z]).

    Note:
        A softmax over many pixels of a map that peaks at 1 leaves most of its mass on the background
        unless beta is large: it is a regulariser, not a decoder, below about beta = 20.

    Example:
        >>> heatmaps = torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 1.0]]]])
        >>> soft_argmax(heatmaps, beta=50.0)
        tensor([[[3.5000, 0.0000]]])
    """
    flat = heatmaps.flatten(2).to(torch.promote_types(heatmaps.dtype, torch.float32)) * beta
    if mode == "softmax":
        weights = flat.softmax(-1)
    elif mode == "sigmoid":
        weights = flat.sigmoid()
        weights = weights / weights.sum(-1, keepdim=True)
    else:
        raise ValueError(f"mode must be 'softmax' or 'sigmoid', got {mode!r}")
    weights = weights.view(heatmaps.shape)
    coordinates = []
    for axis in range(heatmaps.ndim - 1, 1, -1):
        grid = torch.arange(heatmaps.shape[axis], dtype=weights.dtype, device=weights.device)
        others = [a for a in range(2, heatmaps.ndim) if a != axis]
        coordinates.append((weights.sum(others) * grid).sum(-1))
    return torch.stack(coordinates, -1)


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
    value, index = heatmaps.flatten(2).max(-1)
    coordinates = []
    for side in reversed(heatmaps.shape[2:]):
        coordinates.append(index % side)
        index = torch.div(index, side, rounding_mode="floor")
    return torch.stack(coordinates, -1), value


def local_window(heatmaps: Tensor, center: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Cut a window of (2 * radius + 1) pixels a side out of every map.

    Args:
        heatmaps: (B, K, *S).
        center: (B, K, D) int64 pixels, (x, y[, z]), inside the map.
        radius: Pixels on each side of the centre.

    Returns:
        (B, K, *W) values, with the border's values repeated outside, and (B, K, *W) bool: inside the map.

    Example:
        >>> values, inside = local_window(torch.arange(9.0).view(1, 1, 3, 3), torch.tensor([[[0, 1]]]), 1)
        >>> values[0, 0].tolist()
        [[0.0, 0.0, 1.0], [3.0, 3.0, 4.0], [6.0, 6.0, 7.0]]
        >>> inside[0, 0, 0].tolist()
        [False, True, True]
    """
    batch, count, *size = heatmaps.shape
    dims = len(size)
    steps = torch.arange(-radius, radius + 1, device=heatmaps.device)
    index = torch.zeros((batch, count, *[1] * dims), dtype=torch.int64, device=heatmaps.device)
    inside = torch.ones((batch, count, *[1] * dims), dtype=torch.bool, device=heatmaps.device)
    for axis, side in enumerate(size):
        shape = [1] * dims
        shape[axis] = len(steps)
        position = center[..., dims - 1 - axis].reshape(batch, count, *[1] * dims) + steps.reshape(
            1, 1, *shape
        )
        inside = inside & (position >= 0) & (position < side)
        index = index * side + position.clamp(0, side - 1)
    values = heatmaps.flatten(2).gather(2, index.flatten(2)).view(index.shape)
    return values, inside


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
    center, _ = peak(heatmaps)
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


def quadratic_peak(heatmaps: Tensor, log: bool = False, smooth: float = 0.0) -> Tensor:
    """Refine every maximum by one Newton step of a second-order fit to its neighbours.

    Without ``log`` this is the quadratic sub-pixel maximum; with it the fit is made to the logarithm,
    which is exact for a Gaussian (DARK, Zhang et al. 2020, eq. 9, with ``smooth`` for its eq. 10). The
    step is limited to half a pixel per axis (one with ``smooth``, which may move the maximum); none is
    taken where the peak touches the border or the fit is not a maximum.

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
    center, height = peak(heatmaps)
    work = torch.promote_types(heatmaps.dtype, torch.float32)
    reach = int(-(-3 * smooth // 1))
    values, inside = local_window(heatmaps, center, 1 + reach)
    values = values.to(work)
    if reach:
        values = _smooth_valid(values, smooth, reach)
        for axis in range(2, inside.ndim):
            inside = inside.narrow(axis, reach, 3)
    if log:
        floor = (height.abs() * 1e-6).clamp(min=torch.finfo(work).tiny).to(work)
        values = torch.maximum(values, floor.reshape(*floor.shape, *[1] * (values.ndim - 2))).log()
    gradient, hessian, touching = _derivatives(values, inside)
    # Take no step unless the fit is a proper maximum: a saddle would send the point away from the peak.
    curvature = torch.linalg.eigvalsh(torch.nan_to_num(hessian))
    proper = (curvature < -torch.finfo(work).eps * 1e-3).all(-1) & torch.isfinite(gradient).all(-1)
    safe = torch.where(proper[..., None, None], hessian, -torch.eye(hessian.shape[-1]).to(hessian))
    step = -torch.linalg.solve(safe, torch.where(proper[..., None], gradient, 0)[..., None])[..., 0]
    limit = 1.0 if reach else 0.5
    return center.to(work) + torch.where(touching, 0, step).clamp(-limit, limit)


def _smooth_valid(values: Tensor, sigma: float, reach: int) -> Tensor:
    """Smooth (B, K, *W) windows by a Gaussian, keeping the part that needs no padding."""
    steps = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-steps.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    for axis in range(2, values.ndim):
        values = values.unfold(axis, len(steps), 1) @ kernel
    return values


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
