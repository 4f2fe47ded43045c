"""A codec as another package would write it, and images that it can be learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmlandmark.codecs import BaseCodec
from mmlandmark.ops import gaussian_heatmap
from mmlandmark.structures import Detection, LandmarkDataSample, apply_matrix, invert_matrix, resize_matrix


def pixels_of(size):
    """Return the position of every pixel, (*S, D), x first."""
    return torch.stack(torch.meshgrid(*[torch.arange(float(s)) for s in size], indexing="ij")[::-1], -1)


@dataclass(frozen=True)
class VoteTarget:
    """A disc about every landmark, (B, N, *S), and from every pixel the way to it in radii, (B, N, D, *S)."""

    discs: torch.Tensor
    offsets: torch.Tensor
    weights: torch.Tensor


class VoteCodec(BaseCodec):
    """Every pixel in a disc about the landmark votes for the place that its offset points to.

    Args:
        radius: Of the disc, pixels of the map.
        dims: 2 or 3: how many offset maps lie behind that of the disc.
    """

    def __init__(self, radius, dims=2):
        super().__init__()
        self.radius, self.dims, self.maps_per_landmark = radius, dims, 1 + dims

    def encode(self, landmarks, mask, weights, input_size, map_size):
        """Return discs and offsets."""
        moved = torch.nan_to_num(apply_matrix(resize_matrix(input_size, map_size), landmarks))
        offsets = (moved.view(*moved.shape[:2], *[1] * self.dims, -1) - pixels_of(map_size)) / self.radius
        discs = (offsets.norm(dim=-1) <= 1).float()
        return VoteTarget(discs, offsets.movedim(-1, 2), weights * mask)

    def activate(self, outputs):
        """Apply a sigmoid to the discs."""
        maps = super().activate(outputs).unflatten(1, (-1, self.maps_per_landmark))
        return torch.cat([maps[:, :, :1].sigmoid() + 0 * maps[:, :, :1], maps[:, :, 1:]], 2).flatten(1, 2)

    def decode(self, maps, input_size, spread=False):
        """Take the mean of the votes about the place that gets most of them."""
        size = maps.shape[2:]
        maps = maps.unflatten(1, (-1, self.maps_per_landmark))
        weight = maps[:, :, 0].flatten(2)
        votes = (pixels_of(size) + self.radius * maps[:, :, 1:].movedim(2, -1)).flatten(2, -2)
        limit = torch.tensor(size[::-1]) - 1
        index = torch.zeros(weight.shape, dtype=torch.int64)
        for axis, side in enumerate(size):
            place = votes[..., self.dims - 1 - axis].nan_to_num().round().clamp(0, int(limit[-1 - axis]))
            index = index * side + place.long()
        box = torch.zeros_like(weight).scatter_add(2, index, weight)
        most = pixels_of(size).flatten(0, -2)[box.argmax(-1)]
        near = weight * ((votes - most[:, :, None]).norm(dim=-1) <= 2)
        total = near.sum(-1)
        points = (near[..., None] * votes).sum(2) / total[..., None]  # NaN if a map is not finite
        score = torch.where(total > 0, total / weight.sum(-1), 0)
        covariance = None
        if spread:
            offsets = votes - points[:, :, None]
            covariance = (weight[..., None] * offsets).mT @ offsets / weight.sum(-1)[..., None, None]
        detection = Detection(points, score, covariance, presence=maps[:, :, 0].flatten(2).amax(-1))
        return detection.mapped(invert_matrix(resize_matrix(input_size, size)))

    def mirrored_values(self, maps):
        """Turn the offsets along x round."""
        signs = torch.ones(self.maps_per_landmark)
        signs[1] = -1
        return maps * signs.view(-1, *[1] * self.dims)


class VoteLoss(nn.Module):
    """Cross-entropy of the discs, and the absolute error of the offsets inside of them."""

    def forward(self, pred, target):
        """Return the scalar loss of raw maps (B, N * M, *S)."""
        pred = pred.float().unflatten(1, (target.discs.shape[1], -1))
        spatial = tuple(range(2, target.discs.ndim))
        area = target.discs.sum(spatial).clamp(min=1)
        inside = F.binary_cross_entropy_with_logits(pred[:, :, 0], target.discs, reduction="none").sum(
            spatial
        )
        error = ((pred[:, :, 1:] - target.offsets).abs() * target.discs[:, :, None]).sum(
            (2, *(a + 1 for a in spatial))
        )
        return ((inside + error) / area * target.weights).sum() / target.weights.sum().clamp(min=1)


def images_and_samples(size, batch=4, seed=0):
    """Return images (B, 1, *S) with a bright and a dark blob, and samples with their places."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.tensor(size[::-1])
    points = 5 + torch.rand(batch, 2, len(size), generator=generator) * (sides - 10)
    blobs = gaussian_heatmap(points, size, 2.0)
    images = blobs[:, :1] - blobs[:, 1:] + 0.05 * torch.randn(batch, 1, *size, generator=generator)
    samples = [
        LandmarkDataSample.from_landmarks(
            np.asarray(p), sample_id=f"case{i}", ori_shape=size, by_annotator=np.stack([p, p])
        )
        for i, p in enumerate(points)
    ]
    return images, samples
