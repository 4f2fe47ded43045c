"""From heatmaps to coordinates: expectations over all pixels, and refined peaks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.ops.backend import backend, check_maps, is_native, sum_type

MODES = ("softmax", "sigmoid")
REFINEMENTS = ("none", "centroid", "quadratic", "log_quadratic")  # in the order of csrc/common/refine.h


def soft_argmax(heatmaps: Tensor, beta: float = 1.0, mode: str = "softmax") -> Tensor:
    r"""Return the expected coordinate of every map.

    Args:
        heatmaps: (B, K, *S) values or logits.
        beta: Sharpness, positive; the weights of ``softmax`` are :math:`e^{\beta h} / \sum e^{\beta h}`.
        mode: ``softmax``, or ``sigmoid`` for :math:`\sigma(\beta h) / \sum \sigma(\beta h)`, the integral of
            sigmoid maps over their sum (shape-regulated self-training, eq. 2).

    Returns:
        (B, K, D) pixels of the map, (x, y[, z]), float32 or wider.

    Raises:
        ValueError: ``heatmaps`` has another shape, ``beta`` is not positive or ``mode`` is unknown.

    Note:
        A softmax over many pixels of a map that peaks at 1 leaves most of its mass on the background
        unless beta is large: it is a regulariser, not a decoder, below about beta = 20.

    Example:
        >>> heatmaps = torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 1.0]]]])
        >>> soft_argmax(heatmaps, beta=50.0)
        tensor([[[3.5000, 0.0000]]])
    """
    return _expectation(heatmaps, None, beta, mode)


def spatial_expectation(
    heatmaps: Tensor, features: Tensor, beta: float = 1.0, mode: str = "softmax"
) -> Tensor:
    """Return the expectation of feature maps under the weights of every heatmap.

    With maps of x and y this is :func:`soft_argmax`; with maps of radius and angle it gives the spatial
    configuration features of a landmark. Differentiable in ``heatmaps``.

    Args:
        heatmaps: (B, K, *S) values or logits.
        features: (d, *S), constants, 1 <= d <= 8; the same for all images and landmarks.
        beta: Sharpness, positive.
        mode: See :func:`soft_argmax`.

    Returns:
        (B, K, d), float32 or wider.

    Raises:
        ValueError: A shape does not fit, or ``features`` wants a gradient.

    Example:
        >>> spatial_expectation(torch.zeros(1, 1, 1, 3), torch.tensor([[[0.0, 1.0, 5.0]]]))
        tensor([[[2.]]])
    """
    check_maps(heatmaps, "heatmaps")
    if features.ndim != heatmaps.ndim - 1 or features.shape[1:] != heatmaps.shape[2:] or not len(features):
        raise ValueError(
            f"features must be (d, *S) with *S = {tuple(heatmaps.shape[2:])}, got {tuple(features.shape)}"
        )
    if len(features) > 8:
        raise ValueError(f"features must be at most 8 maps, got {len(features)}: take them in parts")
    if features.requires_grad:
        raise ValueError("features are constants: detach() them, or sum over softmax(heatmaps) yourself")
    return _expectation(heatmaps, features.to(sum_type(heatmaps.dtype)), beta, mode)


def _expectation(heatmaps: Tensor, features: Tensor | None, beta: float, mode: str) -> Tensor:
    check_maps(heatmaps, "heatmaps")
    if mode not in MODES:
        raise ValueError(f"mode must be 'softmax' or 'sigmoid', got {mode!r}")
    if not beta > 0:
        raise ValueError(f"beta must be positive, got {beta}")
    if is_native(heatmaps):
        sigmoid = mode == "sigmoid"
        return torch.ops.mmlandmark.spatial_expectation(heatmaps, features, float(beta), sigmoid)[0]
    return spatial_expectation_reference(heatmaps, features, beta, mode)


def spatial_expectation_reference(
    heatmaps: Tensor, features: Tensor | None, beta: float, mode: str
) -> Tensor:
    """Return what the native operator returns, in plain PyTorch; ``features`` None stands for x, y[, z]."""
    flat = heatmaps.flatten(2).to(sum_type(heatmaps.dtype)) * beta
    weights = flat.softmax(-1) if mode == "softmax" else flat.sigmoid()
    if mode == "sigmoid":
        weights = weights / weights.sum(-1, keepdim=True)
    if features is None:
        features = _coordinates(heatmaps.shape[2:], weights)
    with torch.autocast(heatmaps.device.type, enabled=False):
        return weights @ features.flatten(1).mT


def _coordinates(size: Sequence[int], like: Tensor) -> Tensor:
    """Return (D, *S) maps of x, y[, z]."""
    axes = [torch.arange(side, dtype=like.dtype, device=like.device) for side in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])


def region_distance(heatmaps: Tensor, centers: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    r"""Return the mean distance of every map's mass from a point, :math:`\sum_p H(p) |p - x| / \sum_p H(p)`.

    What the Region Attention loss compares (Chen et al., *Semi-supervised Anatomical Landmark Detection via
    Shape-regulated Self-training*, eq. 10). The map of distances is never in memory. Differentiable in
    ``heatmaps`` and ``centers``.

    Args:
        heatmaps: (B, K, *S), not negative.
        centers: (B, K, D) pixels of the map, (x, y[, z]).
        spacing: Length of a pixel along x, y[, z]; 1 by default, the result is in its unit.

    Returns:
        (B, K), float32 or wider.

    Raises:
        ValueError: A shape does not fit.

    Example:
        >>> region_distance(torch.tensor([[[[1.0, 0.0, 0.0, 1.0]]]]), torch.tensor([[[0.0, 0.0]]]))
        tensor([[1.5000]])
    """
    check_maps(heatmaps, "heatmaps")
    dims = heatmaps.ndim - 2
    if centers.shape != (*heatmaps.shape[:2], dims):
        raise ValueError(f"centers must be {(*heatmaps.shape[:2], dims)}, got {tuple(centers.shape)}")
    factors = [1.0] * dims if spacing is None else [float(s) for s in spacing]
    if len(factors) != dims:
        raise ValueError(f"spacing must have {dims} entries, got {spacing}")
    centers = centers.to(sum_type(heatmaps.dtype))
    if is_native(heatmaps):
        return torch.ops.mmlandmark.region_distance(heatmaps, centers, factors)[0]
    return region_distance_reference(heatmaps, centers, factors)


def region_distance_reference(heatmaps: Tensor, centers: Tensor, factors: Sequence[float]) -> Tensor:
    """Return what the native operator returns, in plain PyTorch."""
    flat = heatmaps.flatten(2).to(centers.dtype)
    grid = _coordinates(heatmaps.shape[2:], centers).flatten(1).mT
    offsets = (grid - centers[:, :, None]) * centers.new_tensor(factors)
    return (flat * torch.linalg.vector_norm(offsets, dim=-1)).sum(-1) / flat.sum(-1)


def refined_peak(
    heatmaps: Tensor, method: str = "none", radius: int = 0, smooth: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the first maximum of every map, and from it a position between the pixels.

    The native operator has no gradient; where one is wanted, the twin in plain PyTorch gives it.

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
    if is_native(heatmaps) and not (torch.is_grad_enabled() and heatmaps.requires_grad):
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
    return _fit_reference(heatmaps, pixels, values, method == "log_quadratic", smooth), pixels, values


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
    return refined_peak(heatmaps, "log_quadratic" if log else "quadratic", smooth=smooth)[0]


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


def _fit_reference(heatmaps: Tensor, center: Tensor, height: Tensor, log: bool, smooth: float) -> Tensor:
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
    proper = proper & torch.isfinite(hessian).flatten(-2).all(-1)
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


if backend().name == "native":

    def _like(tensor: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        return tensor.new_empty(shape, dtype=dtype or sum_type(tensor.dtype))

    @torch.library.register_fake("mmlandmark::spatial_expectation")
    def _(heatmaps, features, beta, sigmoid):
        count = heatmaps.ndim - 2 if features is None else features.shape[0]
        return _like(heatmaps, (*heatmaps.shape[:2], count)), _like(heatmaps, (*heatmaps.shape[:2], 2))

    @torch.library.register_fake("mmlandmark::spatial_expectation_backward")
    def _(gradient, heatmaps, features, expectation, state, beta, sigmoid):
        return heatmaps.new_empty(heatmaps.shape)

    @torch.library.register_fake("mmlandmark::region_distance")
    def _(heatmaps, centers, spacing):
        return _like(heatmaps, heatmaps.shape[:2]), _like(heatmaps, heatmaps.shape[:2])

    @torch.library.register_fake("mmlandmark::region_distance_backward")
    def _(gradient, heatmaps, centers, distance, mass, spacing):
        return heatmaps.new_empty(heatmaps.shape), centers.new_empty(centers.shape)

    @torch.library.register_fake("mmlandmark::refined_peak")
    def _(heatmaps, method, radius, smooth):
        points = (*heatmaps.shape[:2], heatmaps.ndim - 2)
        values = _like(heatmaps, heatmaps.shape[:2])
        return _like(heatmaps, points), _like(heatmaps, points, torch.int64), values

    def _setup_expectation(ctx, inputs, output):
        heatmaps, features, ctx.beta, ctx.sigmoid = inputs
        expectation, state = output
        ctx.mark_non_differentiable(state)
        ctx.save_for_backward(heatmaps, features, expectation, state)

    def _expectation_backward(ctx, gradient, _):
        heatmaps, features, expectation, state = ctx.saved_tensors
        slopes = torch.ops.mmlandmark.spatial_expectation_backward(
            gradient, heatmaps, features, expectation, state, ctx.beta, ctx.sigmoid
        )
        return slopes, None, None, None

    def _setup_distance(ctx, inputs, output):
        heatmaps, centers, ctx.spacing = inputs
        distance, mass = output
        ctx.mark_non_differentiable(mass)
        ctx.save_for_backward(heatmaps, centers, distance, mass)

    def _distance_backward(ctx, gradient, _):
        slopes = torch.ops.mmlandmark.region_distance_backward(gradient, *ctx.saved_tensors, ctx.spacing)
        return *slopes, None

    torch.library.register_autograd(
        "mmlandmark::spatial_expectation", _expectation_backward, setup_context=_setup_expectation
    )
    torch.library.register_autograd(
        "mmlandmark::region_distance", _distance_backward, setup_context=_setup_distance
    )
