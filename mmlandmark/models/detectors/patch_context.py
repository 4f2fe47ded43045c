"""What is known of the whole image where a patch of it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmlandmark.structures import apply_matrix, resize_matrix


@dataclass(frozen=True)
class PatchContext:
    """Features of whole images.

    Attributes:
        features: (B, C, *S).
        from_image: (D+1, D+1) from pixels of the images to those of the features.
    """

    features: Tensor
    from_image: np.ndarray

    def at(self, cases: Tensor, frames: Tensor, size: Sequence[int], grid: Sequence[int]) -> Tensor:
        """Return the features at the pixels of patches, interpolated; beyond the border the nearest ones.

        Of patches that are cut out, these are the features enlarged to the size of the image, cut likewise.

        Args:
            cases: (n,) image that each is a part of.
            frames: (n, D+1, D+1) from pixels of a patch to those of its image.
            size: (*S) of a patch.
            grid: (*S) of the result, which covers the patch.

        Returns:
            (n, C, *grid).
        """
        matrices = self.from_image @ frames.double().cpu().numpy() @ resize_matrix(grid, size)
        axes = [torch.arange(side, dtype=torch.float64) for side in grid]
        pixels = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).flatten(0, -2)
        places = apply_matrix(torch.from_numpy(matrices), pixels.expand(len(matrices), -1, -1))
        # grid_sample counts from -1 to 1, from the first pixel's outer edge to the last one's.
        sides = torch.tensor(self.features.shape[:1:-1])
        unit = ((2 * places + 1) / sides - 1).to(self.features.device, self.features.dtype)
        result = self.features.new_empty(len(matrices), self.features.shape[1], *grid)
        cases = cases.to(self.features.device)
        for case in cases.unique().tolist():
            own = cases == case
            # All patches of an image at once, one below the other.
            asked = unit[own].reshape(1, -1, *grid[1:], len(grid))
            read = F.grid_sample(self.features[case, None], asked, padding_mode="border", align_corners=False)
            result[own] = read[0].unflatten(1, (-1, grid[0])).transpose(0, 1)
        return result
