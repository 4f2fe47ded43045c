"""The mean distance of a heatmap's mass from a point."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.ops.arguments import check_maps, result_like, sum_type
from mmlandmark.ops.backend import backend, is_native
from mmlandmark.ops.first_order import first_order
from mmlandmark.ops.soft_argmax import coordinate_maps


def region_distance(heatmaps: Tensor, centers: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    r"""Return the mean distance of every map's mass from a point, :math:`\sum_p H(p) |p - x| / \sum_p H(p)`.

    The quantity that the Region Attention loss compares (Chen et al., *Semi-supervised Anatomical Landmark
    Detection via Shape-regulated Self-training*, eq. 10). The map of distances is never in memory.
    Differentiable in ``heatmaps`` and ``centers``.

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
    grid = coordinate_maps(heatmaps.shape[2:], centers).flatten(1).mT
    offsets = (grid - centers[:, :, None]) * centers.new_tensor(factors)
    return (flat * torch.linalg.vector_norm(offsets, dim=-1)).sum(-1) / flat.sum(-1)


if backend().name == "native":

    @torch.library.register_fake("mmlandmark::region_distance")
    def _(heatmaps, centers, spacing):
        return result_like(heatmaps, heatmaps.shape[:2]), result_like(heatmaps, heatmaps.shape[:2])

    @torch.library.register_fake("mmlandmark::region_distance_backward")
    def _(gradient, heatmaps, centers, distance, mass, spacing):
        return heatmaps.new_empty(heatmaps.shape), centers.new_empty(centers.shape)

    def _setup(ctx, inputs, output):
        heatmaps, centers, ctx.spacing = inputs
        distance, mass = output
        ctx.mark_non_differentiable(mass)
        ctx.save_for_backward(heatmaps, centers, distance, mass)

    def _backward(ctx, gradient, _):
        heatmaps, centers, *result = ctx.saved_tensors
        slopes = torch.ops.mmlandmark.region_distance_backward(
            gradient, heatmaps, centers, *result, ctx.spacing
        )
        return *(first_order(slope, heatmaps, centers) for slope in slopes), None

    torch.library.register_autograd("mmlandmark::region_distance", _backward, setup_context=_setup)
