"""Random patches of images, augmented, each with points of which the place is known in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mmlandmark.models.detectors.augmented_views import view_of
from mmlandmark.models.detectors.patches import patch_corners
from mmlandmark.structures import (
    LandmarkDataSample,
    apply_matrix,
    frame_center,
    is_inside,
    rotation_matrix,
)


@dataclass(frozen=True)
class Patches:
    """One patch of every image.

    Attributes:
        images: (B, C, *P).
        matrices: (B, D+1, D+1) from pixels of the images to those of the patches.
        points: (B, N, D) pixels of the images, (x, y[, z]).
        patch_points: (B, N, D) the same points in pixels of the patches.
        mask: (B, N) bool: there is a point, and both show it.
        landmarks: (B,) int64, on the CPU: which landmark the point of a patch is; -1 for random points.
        weights: (B, N) float32 of the landmarks; 1 for random points.
    """

    images: Tensor
    matrices: np.ndarray
    points: Tensor
    patch_points: Tensor
    mask: Tensor
    landmarks: Tensor
    weights: Tensor


class RandomPatches:
    """Takes a patch of every image of a batch at random, turns it, and changes its intensity.

    Image and points go through one matrix, and the pixels are read once. By default these are the patches of
    CC2D: half as long as the image, anywhere, with one point that is not close to their border.

    Args:
        share: Side of a patch as a fraction of that of the image, rounded to pixels of the coarsest features.
        around: ``anywhere``: patch and point are random. ``landmarks``: the point is a random landmark of the
            sample, such as its pseudo label, and the patch lies about it, inside of the image.
        points: N, random points of a patch. The network sees no more for them, so a step teaches more by
            many. Around landmarks it is one.
        border: How far from the border of a patch its random points lie at least, as a fraction of its side.
        rotation: Largest angle in degrees, in both directions; in 3D about each axis of the array.
        scale: Largest relative change of size.
        brightness: Largest relative change of the distance from the darkest pixel.
        contrast: Largest relative change of the distance from the mean.
        interpolation: ``cubic``, in 2D, or ``linear``, which is also that of 3D.
        one_landmark: Around landmarks, take the same random one of all images of a batch: one that at least
            one of them shows.
        views: 1 compares a patch with the whole image, 2 compares two patches that overlap, as SAM does, see
            :meth:`pair`.
        multiple: Of two patches the sides are multiples of this number of pixels, which the coarsest stride
            has to divide.

    Raises:
        ValueError: A fraction is out of range, a name is unknown, or an amount is negative; or two patches
            might not overlap, or shall lie around landmarks.
    """

    def __init__(
        self,
        share: float = 0.5,
        around: Literal["anywhere", "landmarks"] = "anywhere",
        points: int = 1,
        border: float = 0.1,
        rotation: float = 20.0,
        scale: float = 0.0,
        brightness: float = 0.15,
        contrast: float = 0.25,
        interpolation: Literal["linear", "cubic"] = "cubic",
        one_landmark: bool = False,
        views: Literal[1, 2] = 1,
        multiple: int = 32,
    ) -> None:
        if not 0 < share <= 1 or not 0 <= border < 0.5 or not 0 <= scale < 1:
            raise ValueError(
                "patches need share in (0, 1], border in [0, 0.5) and scale in [0, 1), got "
                f"{share}, {border}, {scale}"
            )
        if around not in ("anywhere", "landmarks") or interpolation not in ("linear", "cubic"):
            raise ValueError(
                "patches lie around 'anywhere' or 'landmarks', by interpolation 'linear' or 'cubic', got "
                f"{around!r}, {interpolation!r}"
            )
        if points < 1 or (around == "landmarks" and points > 1):
            raise ValueError(
                f"patches have points=1 around landmarks, and at least one anywhere, got {points}"
            )
        if min(rotation, brightness, contrast) < 0:
            raise ValueError(f"patches: negative amount in {rotation}, {brightness}, {contrast}")
        if one_landmark and around != "landmarks":
            raise ValueError("patches: one_landmark=True needs around='landmarks'")
        if views not in (1, 2) or multiple < 1:
            raise ValueError(f"patches need views 1 or 2 and multiple of at least 1, got {views}, {multiple}")
        if views == 2 and (around != "anywhere" or share * (2 - 2 * border) <= 1):
            raise ValueError(
                "two patches lie anywhere, and overlap with share above 1 / (2 - 2 * border) = "
                f"{1 / (2 - 2 * border):.3g}, got around={around!r}, share={share}"
            )
        self.views, self.multiple = views, multiple
        self.share, self.around, self.points, self.border = share, around, points, border
        self.rotation, self.scale, self.interpolation = rotation, scale, interpolation
        self.brightness, self.contrast, self.one_landmark = brightness, contrast, one_landmark

    def size_of(self, size: Sequence[int], levels: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """Return the (*S) of a patch.

        Args:
            size: (*S) of the image.
            levels: (*S) of its features at every level, finest first.

        Raises:
            ValueError: A level has no whole number of pixels of the one before, so that features of image and
                patch would lie on different grids.
        """
        chain = [tuple(size), *(tuple(level) for level in levels)]
        for fine, coarse in pairwise(chain):
            if any(a % b for a, b in zip(fine, coarse, strict=True)):
                raise ValueError(
                    f"an image of {chain[0]} has features of {', '.join(map(str, chain[1:]))}, which are no "
                    "grids inside of each other: choose a size, or data_preprocessor.size_divisor, that is a "
                    "multiple of the coarsest stride"
                )
        coarsest = chain[-1]
        return tuple(
            max(1, int(self.share * cells + 0.5)) * (side // cells)
            for side, cells in zip(size, coarsest, strict=True)
        )

    def __call__(
        self, inputs: Tensor, size: Sequence[int], samples: Sequence[LandmarkDataSample] = ()
    ) -> Patches:
        """Return patches of (B, C, *S) images.

        Random numbers come from the CPU's generator of PyTorch, whatever the device.

        Args:
            inputs: (B, C, *S).
            size: (*S) of a patch, see :meth:`size_of`.
            samples: Of the batch, needed for patches around landmarks.
        """
        batch, whole = len(inputs), inputs.shape[2:]
        draws = torch.rand(batch, 12, dtype=torch.float64).numpy()
        if self.around == "anywhere":
            points, corners = self._anywhere(draws[:, :6], whole, size)
            weights, landmarks = torch.ones(points.shape[:2]), torch.full((batch,), -1)
        else:
            points, weights, landmarks = _landmarks(samples, whole, self.one_landmark)
            corners = patch_corners(points[:, 0], size, whole).double().numpy()
        return self._taken(inputs, size, corners, draws[:, 6:], points, weights, landmarks)

    def pair(self, inputs: Tensor) -> tuple[Patches, Patches]:
        """Return two patches of every image, which show the same random points.

        Both lie anywhere, and are turned and changed one by one. Their points lie in the part that they
        share, not close to its border.

        Args:
            inputs: (B, C, *S).
        """
        batch, whole = len(inputs), inputs.shape[2:]
        size = [max(1, int(self.share * side / self.multiple + 0.5)) * self.multiple for side in whole]
        size = [min(side, most) for side, most in zip(size, whole, strict=True)]
        draws = torch.rand(batch, 2, 9, dtype=torch.float64).numpy()
        sides, room = np.asarray(size)[::-1], np.asarray(whole)[::-1] - np.asarray(size)[::-1]
        corners = np.floor(draws[:, :, : len(size)] * (room + 1))
        low = corners.max(1) + self.border * sides
        high = corners.min(1) + (1 - self.border) * sides
        places = torch.rand(batch, self.points, len(size), dtype=torch.float64).numpy()
        points = torch.from_numpy(np.floor(low[:, None] + places * (high - low)[:, None]))
        weights, landmarks = torch.ones(points.shape[:2]), torch.full((batch,), -1)
        first, second = (
            self._taken(inputs, size, corners[:, view], draws[:, view, 3:], points, weights, landmarks)
            for view in (0, 1)
        )
        return first, second

    def _taken(
        self,
        inputs: Tensor,
        size: Sequence[int],
        corners: np.ndarray,
        draws: np.ndarray,
        points: Tensor,
        weights: Tensor,
        landmarks: Tensor,
    ) -> Patches:
        """Return patches whose first pixels (B, D) are known, changed by (B, 6) random numbers."""
        matrices = self._matrices(draws[:, :4], corners, size)
        moved = apply_matrix(torch.from_numpy(matrices), points)
        mask = (weights > 0) & is_inside(moved, size)
        how = self.interpolation if len(size) == 2 else "linear"
        images = self._jittered(view_of(inputs, matrices, size, how), draws[:, 4:6])
        points, moved, mask, weights = (one.to(inputs.device) for one in (points, moved, mask, weights))
        return Patches(images, matrices, points, moved, mask, landmarks, weights)

    def _anywhere(
        self, draws: np.ndarray, whole: Sequence[int], size: Sequence[int]
    ) -> tuple[Tensor, np.ndarray]:
        """Return random points (B, N, D), in pixels of the images, and the first pixels (B, D) of patches."""
        dims = len(size)
        sides, room = np.asarray(size)[::-1], np.asarray(whole)[::-1] - np.asarray(size)[::-1]
        corners = np.floor(draws[:, :dims] * (room + 1))
        first = draws[:, None, 3 : 3 + dims]
        more = torch.rand(len(draws), self.points - 1, dims, dtype=torch.float64).numpy()
        inside = self.border + np.concatenate([first, more], 1) * (1 - 2 * self.border)
        return torch.from_numpy(corners[:, None] + np.floor(inside * sides)), corners

    def _matrices(self, draws: np.ndarray, corners: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """Return (B, D+1, D+1) from pixels of the images to those of the patches."""
        dims, center = len(size), frame_center(size)
        angles = (2 * draws[:, : 3 if dims == 3 else 1] - 1) * self.rotation
        linear = rotation_matrix(angles, center)[:, :dims, :dims]
        linear = linear * (1 + (2 * draws[:, 3, None, None] - 1) * self.scale)
        matrices = np.tile(np.eye(dims + 1), (len(corners), 1, 1))
        matrices[:, :dims, :dims] = linear
        # Turned about the centre of the patch, which lies at corner + centre in the image.
        matrices[:, :dims, dims] = center - np.einsum("bij,bj->bi", linear, corners + center)
        return matrices

    def _jittered(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Return patches with another contrast, then another brightness."""
        if not self.brightness and not self.contrast:
            return images
        shape = (-1, *[1] * (images.ndim - 1))
        amounts = torch.from_numpy(1 + (2 * draws - 1) * (self.brightness, self.contrast))
        bright, contrast = (a.view(shape) for a in amounts.to(images.device, images.dtype).unbind(1))
        flat = images.flatten(1)
        dark, mean = flat.amin(1).view(shape), flat.mean(1).view(shape)
        return dark + bright * (mean + contrast * (images - mean) - dark)


def _landmarks(
    samples: Sequence[LandmarkDataSample], size: Sequence[int], same: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a random landmark of every sample: (B, 1, D) input pixels, (B, 1) its weight, (B,) which.

    The weight of one that is not inside is 0. One of weight 0 is not drawn. A sample without any is given a
    number that another one has, so that it adds none to a batch.
    """
    points = torch.stack([sample.to_input(sample.gt_landmarks) for sample in samples]).double().cpu()
    weights = torch.stack([sample.gt_weights * sample.mask for sample in samples]).cpu()
    mask = (weights > 0) & is_inside(points, size)
    shown = mask.any(0, keepdim=True) if same else mask
    choice = torch.where(shown, torch.rand(shown.shape), -1).argmax(1).expand(len(points))
    known = mask[torch.arange(len(points)), choice]
    choice = torch.where(known, choice, choice[known.int().argmax()])
    picked = points[torch.arange(len(points)), choice]
    weight = torch.where(known, weights[torch.arange(len(points)), choice], 0.0)
    return torch.where(known[:, None], picked, 0.0)[:, None], weight[:, None], choice
