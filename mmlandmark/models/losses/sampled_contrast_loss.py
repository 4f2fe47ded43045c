"""Embeddings that find the pixel of a patch among random or difficult others (SAM)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.shared_divisor import shared_divisor
from mmlandmark.models.similarity import PatchPair, cells_of, cosine_maps, features_at, flat_index, pixels_of
from mmlandmark.registry import MODELS


@MODELS.register_module()
class SampledContrastLoss(nn.Module):
    r"""Cross-entropy of the pixel that shows a point of the patch, among some others.

    The self-supervised loss of SAM (Yan et al. 2022, *SAM: Self-supervised Learning of Pixel-wise Anatomical
    Embeddings in Radiological Images*): the logit of a pixel is :math:`\tau \cos`, with its embedding and
    that of the point in the patch. The others are random pixels of the level, within a radius if there is
    one, and, as the publication proposes, those that are most like the point: the hard negatives. The
    defaults are those of its 2D version in the code of CC2D, which has no hard ones. Levels are summed; the
    mean is over all points that their patch shows.

    Args:
        random: Number of random pixels per level, finest first.
        hard: Number of hard negatives per level; one number serves all.
        radius: How far random pixels lie from the true one at most, along every axis, in pixels of the image,
            per level; None for anywhere.
        apart: Pixels of the level about the true one that are never others, along every axis; 0 leaves out
            that pixel only.
        temperature: :math:`\tau`, the factor before the softmax.

    Raises:
        ValueError: There is not one number for each level, or one is negative, ``temperature`` or a radius is
            not positive, or a level has no others.
    """

    def __init__(
        self,
        random: Sequence[int] = (5000, 500),
        hard: int | Sequence[int] = 0,
        radius: Sequence[float | None] = (200, None),
        apart: int = 0,
        temperature: float = 10.0,
    ) -> None:
        super().__init__()
        counts = list(random) if isinstance(random, Sequence) else []
        difficult = [hard] * len(counts) if isinstance(hard, int) else list(hard)
        reaches = list(radius) if isinstance(radius, Sequence) else []
        if not counts or not len(counts) == len(difficult) == len(reaches):
            raise ValueError(
                "SampledContrastLoss needs one number of random, hard and radius for each level, got "
                f"{random}, {hard} and {radius}"
            )
        if min(*counts, *difficult, apart) < 0 or not all(map(sum, zip(counts, difficult, strict=True))):
            raise ValueError(
                "SampledContrastLoss needs other pixels at every level, and apart of at least 0, got "
                f"random={counts}, hard={difficult}, apart={apart}"
            )
        if not temperature > 0 or not all(reach is None or reach > 0 for reach in reaches):
            raise ValueError(
                f"SampledContrastLoss: temperature and radius must be positive, got {temperature}, {reaches}"
            )
        self.random, self.hard, self.radius = counts, difficult, reaches
        self.apart, self.temperature = apart, temperature

    def forward(self, pair: PatchPair) -> Tensor:
        """Return the loss, a scalar; 0 if no patch shows a point.

        Raises:
            ValueError: There are other levels than the arguments are for, or no other pixels at one of them.
        """
        if len(pair.features) != len(self.random):
            raise ValueError(
                f"SampledContrastLoss is for {len(self.random)} levels, the network has "
                f"{len(pair.features)}: give one number of random, hard and radius for each"
            )
        levels = [self._level(pair, index) for index in range(len(self.random))]
        losses = torch.stack(levels).sum(0) * pair.counts
        return losses.sum() / shared_divisor(pair.counts.sum())

    def _level(self, pair: PatchPair, level: int) -> Tensor:
        """Return the cross-entropy (B, N) of a level."""
        features, patches = pair.features[level], pair.patch_features[level]
        size = features.shape[2:]
        own = cells_of(pair.points, pair.size, size)
        place = cells_of(pair.patch_points, pair.patch_size, patches.shape[2:])
        cosine = cosine_maps(features, features_at(patches, place)).flatten(2)
        true = cosine.gather(2, flat_index(own, size)[..., None])
        stride = [side / part for side, part in zip(pair.size, size, strict=True)]
        self._check_reach(level, stride)
        others = self.others(own, size, level, stride)
        near = ((others - own[:, :, None]).abs() <= self.apart).all(-1)
        sampled = cosine.gather(2, flat_index(others, size)).masked_fill(near, -torch.inf)
        hard = self._hard(cosine, own, size, self.hard[level])
        logits = self.temperature * torch.cat([true, sampled, hard], 2)
        target = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape)

    def _check_reach(self, level: int, stride: Sequence[float]) -> None:
        """Raise ValueError if all random pixels of a level are too close to the true one to be others."""
        reach = self.radius[level]
        if self.hard[level] or reach is None or max(int(reach / step) for step in stride) > self.apart:
            return
        raise ValueError(
            f"SampledContrastLoss: level {level} has a pixel for every {max(stride):g} of the image, so in "
            f"radius[{level}]={reach:g} none is more than apart={self.apart} away from the true one"
        )

    def others(self, own: Tensor, size: Sequence[int], level: int, stride: Sequence[float]) -> Tensor:
        """Return random pixels of a level, by the CPU's generator of PyTorch.

        Args:
            own: (B, N, D) int64, the true pixels, (x, y[, z]).
            size: (*S) of the level.
            level: Its index.
            stride: (*S) pixels of the image per pixel of the level.

        Returns:
            (B, N, n, D) int64; the true pixel may be among them.
        """
        draws = torch.rand(*own.shape[:2], self.random[level], own.shape[2], dtype=torch.float64)
        last = torch.tensor(size[::-1], device=own.device) - 1
        low, high = torch.zeros_like(own), last.expand_as(own)
        reach = self.radius[level]
        if reach is not None:
            cells = torch.tensor([int(reach / step) for step in stride[::-1]], device=own.device)
            low, high = (own - cells).clamp(min=0), torch.minimum(own + cells, last)
        room = (high - low + 1)[:, :, None]
        return low[:, :, None] + (draws.to(own.device) * room).floor().long()

    def _hard(self, cosine: Tensor, own: Tensor, size: Sequence[int], number: int) -> Tensor:
        """Return the largest cosines (B, N, n) of pixels that are not at the true one."""
        if not number:
            return cosine[..., :0]
        near = ((pixels_of(size, own.device) - own[:, :, None]).abs() <= self.apart).all(-1)
        allowed = cosine.masked_fill(near, -torch.inf)
        return allowed.topk(min(number, allowed.shape[2]), dim=2).values
