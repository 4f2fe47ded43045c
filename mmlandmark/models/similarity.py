"""How alike embeddings are: of pixels and of points, in images and in maps of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from mmlandmark.ops import window_index
from mmlandmark.structures import apply_matrix, resize_matrix

EPS = 1e-3  # added to the product of two lengths, as CC2D does


@dataclass(frozen=True)
class PatchPair:
    """Embeddings of images and of a patch of each, and where N points lie in both.

    Attributes:
        features: Levels (B, C, *S) of the images, finest first.
        patch_features: Levels (B, C, *S') of the patches, of the same strides.
        points: (B, N, D) pixels of the images, (x, y[, z]).
        patch_points: (B, N, D) the same points, in pixels of the patches.
        mask: (B, N) bool: the point is seen in both.
        size: (*S) of the images.
        patch_size: (*S) of the patches.
        weights: (B, N) of the points in a loss; None for equal ones.
    """

    features: Sequence[Tensor]
    patch_features: Sequence[Tensor]
    points: Tensor
    patch_points: Tensor
    mask: Tensor
    size: tuple[int, ...]
    patch_size: tuple[int, ...]
    weights: Tensor | None = None

    @property
    def counts(self) -> Tensor:
        """(B, N) how much every point counts in a loss: its weight, or 0 if it is not seen in both."""
        return self.mask.float() if self.weights is None else self.mask * self.weights


def cells_of(points: Tensor, size: Sequence[int], map_size: Sequence[int]) -> Tensor:
    """Return the pixels of a map in which points of an image lie, for points outside the nearest ones.

    Args:
        points: (..., D) finite pixels of the image, (x, y[, z]).
        size: (*S) of the image.
        map_size: (*S) of the map.

    Returns:
        (..., D) int64, (x, y[, z]).

    Example:
        >>> cells_of(torch.tensor([[0.0, 15.4], [16.0, 15.6]]), (32, 32), (2, 2)).tolist()
        [[0, 0], [1, 1]]
    """
    cells = torch.floor(apply_matrix(resize_matrix(size, map_size), points.double()) + 0.5).long()
    last = torch.tensor(map_size[::-1], device=points.device) - 1
    return torch.minimum(cells.clamp(min=0), last)


def flat_index(cells: Tensor, size: Sequence[int]) -> Tensor:
    """Return (...) where pixels (..., D), (x, y[, z]), of a map of ``size`` stand in its flattened array."""
    index = torch.zeros_like(cells[..., 0])
    for axis, side in enumerate(size):
        index = index * side + cells[..., len(size) - 1 - axis]
    return index


def pixels_of(size: Sequence[int], device: torch.device) -> Tensor:
    """Return the pixels (N, D) int64, (x, y[, z]), of a flattened map of ``size``."""
    axes = [torch.arange(side, device=device) for side in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).flatten(0, -2)


def features_at(features: Tensor, cells: Tensor) -> Tensor:
    """Return the features of pixels.

    Args:
        features: (B, C, *S).
        cells: (B, N, D) int64 pixels, (x, y[, z]).

    Returns:
        (B, N, C).
    """
    index = flat_index(cells, features.shape[2:])
    flat = features.flatten(2)
    return flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1)).mT


def cosine_maps(features: Tensor, vectors: Tensor, eps: float = EPS) -> Tensor:
    """Return the cosine of every pixel's features with vectors, in single precision or wider.

    Args:
        features: (B, C, *S).
        vectors: (B, N, C), or (1, N, C) for all images.
        eps: Added to the product of the two lengths.

    Returns:
        (B, N, *S).

    Example:
        >>> pixels = torch.tensor([[[[3.0, 0.0, -1.0]], [[4.0, 2.0, 0.0]]]])
        >>> cosine_maps(pixels, torch.tensor([[[1.0, 0.0]]]), eps=0)[0, 0, 0].tolist()
        [0.6000000238418579, 0.0, -1.0]
    """
    kind = torch.promote_types(features.dtype, torch.float32)
    flat, vectors = features.flatten(2).to(kind), vectors.to(kind)
    with _without_autocast(features):
        lengths = vectors.norm(dim=2)[..., None] * flat.norm(dim=1)[:, None]
        return ((vectors @ flat) / (lengths + eps)).unflatten(2, features.shape[2:])


def window_cosines(
    features: Tensor, vectors: Tensor, cells: Tensor, radius: int, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """Return the cosine of the pixels about N pixels with a vector of each.

    It is what :func:`cosine_maps` has in these windows. As long as they are smaller than the map, no other
    pixel is looked at.

    Args:
        features: (B, C, *S).
        vectors: (B, N, C).
        cells: (B, N, D) int64 pixels, (x, y[, z]), the centres.
        radius: Pixels on each side of a centre.
        eps: Added to the product of the two lengths.

    Returns:
        (B, N, *W), and (B, N, *W) bool: inside the map.
    """
    index, inside = window_index(features.shape[2:], cells, radius)
    if index[0].numel() >= features[0, 0].numel():
        maps = cosine_maps(features, vectors, eps).flatten(2)
        return maps.gather(2, index.flatten(2)).view(index.shape), inside
    kind = torch.promote_types(features.dtype, torch.float32)
    flat = features.flatten(2)
    places = index.flatten(1)[:, None].expand(-1, flat.shape[1], -1)
    seen = flat.gather(2, places).to(kind).unflatten(2, (cells.shape[1], -1))
    vectors = vectors.to(kind)
    with _without_autocast(features):
        lengths = vectors.norm(dim=2)[..., None] * seen.norm(dim=1)
        cosine = (vectors.mT[..., None] * seen).sum(1) / (lengths + eps)
    return cosine.view(index.shape), inside


def _without_autocast(features: Tensor) -> AbstractContextManager:
    """Return a context without mixed precision; shapes alone, on the meta device, know none."""
    kind = features.device.type
    mixed = kind != "meta" and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if mixed else nullcontext()
