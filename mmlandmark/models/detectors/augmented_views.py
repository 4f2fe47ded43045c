"""Test-time augmentation: rotated and scaled views of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmlandmark.structures import (
    frame_center,
    invert_matrix,
    resize_matrix,
    rotation_matrix,
    scale_matrix,
)

_KEYS = ("rotation", "scale")


def checked_views(views: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return the views as dicts; by default one view, the image as it is.

    Raises:
        ValueError: A view has an unknown key, or a scale that is not positive.
    """
    checked = [dict(view) for view in views or [{}]]
    for view in checked:
        if set(view) - set(_KEYS):
            raise ValueError(
                f"test_cfg.views: unknown keys {sorted(set(view) - set(_KEYS))} in {view}; known: {_KEYS}"
            )
        if not np.min(view.get("scale", 1.0)) > 0:
            raise ValueError(f"test_cfg.views: scale must be positive in {view}")
    return checked


def view_matrix(
    view: dict[str, Any], size: Sequence[int], spacing: np.ndarray | None = None
) -> np.ndarray | None:
    """Return the (D+1, D+1) matrix from input pixels to those of a view; None for the image as it is.

    Args:
        view: ``rotation`` in degrees (three in 3D) and ``scale``, both about the centre of the image.
        size: (*S) of the input.
        spacing: (B, D) lengths of a pixel of every image, (x, y[, z]), in which a rotation keeps distances:
            the result is (B, D+1, D+1). None for square pixels or cubes.
    """
    if not np.any(view.get("rotation", 0)) and np.all(np.asarray(view.get("scale", 1)) == 1):
        return None
    center = frame_center(size)
    still = [0.0] * (3 if len(size) == 3 else 1)
    turn = rotation_matrix(view.get("rotation", still), center)
    if spacing is not None:
        linear = turn[:-1, :-1] * spacing[:, None, :] / spacing[:, :, None]
        turn = np.tile(turn, (len(spacing), 1, 1))
        turn[:, :-1, :-1], turn[:, :-1, -1] = linear, center - linear @ center
    return turn @ scale_matrix(view.get("scale", 1.0), center)


def view_of(
    inputs: Tensor, matrix: np.ndarray, size: Sequence[int] | None = None, interpolation: str = "linear"
) -> Tensor:
    """Return images resampled to a view; pixels from outside are as dark as the darkest of their image.

    Args:
        inputs: (B, C, *S) images; integers become floats.
        matrix: (D+1, D+1) from input pixels to those of the view, or (B, D+1, D+1), one per image.
        size: (*S) of the view; None is that of the images.
        interpolation: ``linear``, or ``cubic`` in 2D.
    """
    inputs = inputs if inputs.is_floating_point() else inputs.float()
    sizes = inputs.shape[2:], inputs.shape[2:] if size is None else tuple(size)
    # grid_sample counts from -1 to 1, from the first pixel's outer edge to the last one's.
    unit, unit_of_view = (resize_matrix(one, [2] * len(one)) for one in sizes)
    for one in (unit, unit_of_view):
        one[:-1, -1] -= 0.5
    back = unit @ invert_matrix(matrix) @ invert_matrix(unit_of_view)
    back = back if back.ndim == 3 else back[None]
    theta = torch.as_tensor(back[:, :-1], dtype=inputs.dtype, device=inputs.device)
    grid = F.affine_grid(theta, [len(back), inputs.shape[1], *sizes[1]], align_corners=False)
    grid = grid.expand(inputs.shape[0], *grid.shape[1:])
    dark = inputs.flatten(1).amin(1).reshape(-1, *[1] * (inputs.ndim - 1))
    mode = "bicubic" if interpolation == "cubic" else "bilinear"
    return F.grid_sample(inputs - dark, grid, mode, align_corners=False) + dark
