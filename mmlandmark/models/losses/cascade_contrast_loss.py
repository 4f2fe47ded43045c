"""Embeddings that find the pixel of a patch in the image, level by level (CC2D)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.shared_divisor import shared_divisor
from mmlandmark.models.similarity import (
    PatchPair,
    cells_of,
    cosine_maps,
    features_at,
    flat_index,
    pixels_of,
    window_cosines,
)
from mmlandmark.registry import MODELS


@MODELS.register_module()
class CascadeContrastLoss(nn.Module):
    r"""Cross-entropy of the pixel that shows a point of the patch, among all, or among those about it.

    The self-supervised loss of CC2D (Yao et al. 2021, *One-Shot Medical Landmark Detection*). At every level
    the logit of a pixel is :math:`\tau (\cos + \min(m d, m_{max}))`, with the cosine of its embedding and
    that of the point in the patch, and the distance d to the true pixel: what is far away has to be less
    alike.
    The coarsest level compares all pixels, a finer one those from ``window`` before the true one to
    ``window`` - 1 behind. Levels are summed; the mean is over all points that their patch shows.

    Args:
        temperature: The factor before the softmax.
        margin: m, per pixel of the level.
        most: The largest margin.
        window: Pixels of the level.
        clamp: Cut cosines to 0..1 first, as in the maps. With ``temperature=1``, no margin and ``window=6``
            that is the first stage of UOD (Zhu et al. 2023, *UOD: Universal One-Shot Detection of Anatomical
            Landmarks*).

    Raises:
        ValueError: ``temperature`` or ``window`` is not positive, or a margin is negative.
    """

    def __init__(
        self,
        temperature: float = 10.0,
        margin: float = 0.07,
        most: float = 0.8,
        window: int = 11,
        clamp: bool = False,
    ) -> None:
        super().__init__()
        if not temperature > 0 or window < 1 or margin < 0 or most < 0:
            raise ValueError(
                "CascadeContrastLoss needs a positive temperature and window, and margins of at least 0, got "
                f"temperature={temperature}, window={window}, margin={margin}, most={most}"
            )
        self.temperature, self.margin, self.most, self.window = temperature, margin, most, window
        self.clamp = clamp

    def forward(self, pair: PatchPair) -> Tensor:
        """Return the loss, a scalar; 0 if no patch shows a point."""
        last = len(pair.features) - 1
        levels = [self._level(pair, i, whole=i == last) for i in range(last + 1)]
        losses = torch.stack(levels).sum(0) * pair.counts
        return losses.sum() / shared_divisor(pair.counts.sum())

    def _level(self, pair: PatchPair, level: int, whole: bool) -> Tensor:
        """Return the cross-entropy (B, N) of a level."""
        features, patches = pair.features[level], pair.patch_features[level]
        size = features.shape[2:]
        own = cells_of(pair.points, pair.size, size)
        place = cells_of(pair.patch_points, pair.patch_size, patches.shape[2:])
        anchors = features_at(patches, place)
        if whole:
            cosine = self._cut(cosine_maps(features, anchors))
            steps = pixels_of(size, features.device) - own[:, :, None]
            target = flat_index(own, size)
        else:
            cosine, inside = window_cosines(features, anchors, own, self.window)
            cosine = self._cut(cosine)
            side = (2 * self.window,) * own.shape[-1]
            for axis in range(2, cosine.ndim):  # the publication's window lacks its last pixel
                cosine, inside = (one.narrow(axis, 0, side[0]) for one in (cosine, inside))
            cosine = cosine.masked_fill(~inside, -torch.inf)
            steps = pixels_of(side, features.device) - self.window
            target = flat_index(torch.full_like(own, self.window), side)
        margin = (self.margin * steps.to(cosine.dtype).norm(dim=-1)).clamp(max=self.most)
        logits = self.temperature * (cosine.flatten(2) + margin)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape)

    def _cut(self, cosine: Tensor) -> Tensor:
        return cosine.clamp(0, 1) if self.clamp else cosine
