"""Images at a low resolution, and patches of them at their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmlandmark.ops import resample
from mmlandmark.structures import apply_matrix, crop_matrix

_AT_ONCE = 2**24  # values of an image that are held as floats


def shrunk(images: Tensor, scale: Sequence[float], size: Sequence[int]) -> Tensor:
    """Return images at a low resolution: means over areas along axes that shrink, linear along the others.

    The first pixel of the result begins where that of the image does. Areas beyond the last pixel do not
    count, so that a border does not get darker. Images of any dtype become floats slab by slab: memory is
    that of the result.

    Args:
        images: (B, C, *S).
        scale: (*S) pixels of the image per pixel of the result.
        size: (*S) of the result.

    Returns:
        (B, C, *S) float32 or wider.

    Example:
        >>> shrunk(torch.tensor([[[[0.0, 2.0, 4.0, 8.0, 9.0]]]]), (1, 2), (1, 3)).tolist()
        [[[[1.0, 6.0, 9.0]]]]
    """
    kind = torch.promote_types(images.dtype, torch.float32)
    weights = [
        _area_weights(old, float(factor), new).to(images.device, kind)
        for old, factor, new in zip(images.shape[2:], scale, size, strict=True)
    ]
    rows = max(1, _AT_ONCE // max(1, images[:, :, 0].numel()))
    parts = []
    with torch.autocast(images.device.type, enabled=False):  # pixels keep their precision
        for part in images.split(rows, 2):
            part = part.to(kind)
            for axis in range(len(weights) - 1, 0, -1):
                part = _along(part, 2 + axis, weights[axis])
            parts.append(part)
        return _along(torch.cat(parts, 2), 2, weights[0]).contiguous()


def _along(images: Tensor, axis: int, weights: Tensor) -> Tensor:
    """Return images with one axis multiplied by (new, old) weights."""
    return (images.movedim(axis, -1) @ weights.T).movedim(-1, axis)


def _area_weights(old: int, factor: float, new: int) -> Tensor:
    """Return (new, old) weights, each row of sum 1, in double precision."""
    first = torch.arange(new, dtype=torch.float64)[:, None] * factor
    pixels = torch.arange(old, dtype=torch.float64)
    if factor >= 1:
        overlap = torch.minimum(pixels + 1, first + factor) - torch.maximum(pixels, first)
        weights = overlap.clamp(min=0)
    else:
        place = (first + factor / 2 - 0.5).clamp(0, old - 1)
        weights = (1 - (pixels - place).abs()).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def patch_corners(centers: Tensor, size: Sequence[int], image_size: Sequence[int]) -> Tensor:
    """Return the first pixels of patches that have points as near to their centres as pixels allow.

    A patch stays inside of the image as far as it fits; along a side that is shorter, the image lies in the
    middle of the patch. ``RandomPatch`` does the same.

    Args:
        centers: (..., D) finite pixels, (x, y[, z]).
        size: (*S) of a patch.
        image_size: (*S) of the image.

    Returns:
        (..., D) int64, (x, y[, z]).

    Example:
        >>> patch_corners(torch.tensor([[10.2, 1.0]]), (4, 4), (3, 12)).tolist()
        [[8, -1]]
    """
    corners = []
    for axis, (side, whole) in enumerate(zip(reversed(size), reversed(image_size), strict=True)):
        room = whole - side
        first = torch.floor(centers[..., axis].double() - (side - 1) / 2 + 0.5).long()
        corners.append(first.clamp(0, room) if room > 0 else torch.full_like(first, room // 2))
    return torch.stack(corners, -1)


def frames_of(corners: Tensor) -> Tensor:
    """Return the matrices (n, D+1, D+1) from pixels of patches to those of their images.

    Args:
        corners: (n, D) first pixels, (x, y[, z]).
    """
    frames = torch.eye(corners.shape[1] + 1, dtype=torch.float64).repeat(len(corners), 1, 1)
    frames[:, :-1, -1] = corners.double().cpu()
    return frames


def cut_patches(
    images: Tensor, cases: Tensor, corners: Tensor, size: Sequence[int], fill: Sequence[float]
) -> Tensor:
    """Return patches (n, C, *S) of images, float32 or wider.

    Args:
        images: (B, C, *S) of any dtype.
        cases: (n,) which image.
        corners: (n, D) int64 first pixel, (x, y[, z]); it may lie outside.
        size: (*S) of a patch.
        fill: (B,) values outside of every image.
    """
    kind = torch.promote_types(images.dtype, torch.float32)
    patches = []
    for case, corner in zip(cases.tolist(), corners.flip(-1).tolist(), strict=True):
        ends = [first + side for first, side in zip(corner, size, strict=True)]
        sides = list(zip(corner, ends, images.shape[2:], strict=True))
        inside = (slice(None), *(slice(max(a, 0), max(min(b, whole), 0)) for a, b, whole in sides))
        missing = [n for a, b, whole in reversed(sides) for n in (max(-a, 0), max(b - whole, 0))]
        patch = images[case][inside].to(kind)
        patches.append(F.pad(patch, missing, value=fill[case]) if any(missing) else patch)
    return torch.stack(patches)


def sample_patches(
    images: Tensor, cases: Sequence[int], frames: np.ndarray, size: Sequence[int], fill: Sequence[float]
) -> Tensor:
    """Return patches (n, C, *S) that lie in images in any direction, interpolated, in the type of the images.

    Args:
        images: (B, C, *S) of any dtype.
        cases: n: which image.
        frames: (n, D+1, D+1) from pixels of a patch to those of its image.
        size: (*S) of a patch.
        fill: (B,) values outside of every image.
    """
    ends = [(0.0, side - 1.0) for side in reversed(size)]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, len(size))
    patches = []
    for case, frame in zip(cases, frames, strict=True):
        # Only the part that is read: elsewhere than on a CPU all of what is given becomes floats.
        box = apply_matrix(frame, corners)
        first = np.floor(box.min(0) - 1).astype(int)
        last = np.ceil(box.max(0) + 2).astype(int)
        whole = np.asarray(images.shape[:1:-1])
        first, last = np.clip(first, 0, whole - 1), np.clip(last, 1, whole)
        last = np.maximum(last, first + 1)
        inside = (slice(None), *(slice(a, b) for a, b in zip(first[::-1], last[::-1], strict=True)))
        part = images[case][inside]
        matrix = torch.from_numpy(crop_matrix(first) @ frame)
        patches.append(torch.stack([resample(c, matrix, size, value=fill[case]) for c in part]))
    return torch.stack(patches)
