"""Loss of the offsets that lead from pixels to their landmark."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.losses.heatmap_loss import LandmarkLoss, compared_maps
from mmlandmark.ops import local_window
from mmlandmark.registry import MODELS


@MODELS.register_module()
class OffsetL1Loss(LandmarkLoss):
    """Absolute error of offset maps inside of the disc about every landmark (Chen et al. 2019, AFPF-RV).

    Per landmark, the mean over the pixels of the disc that lie in the map, summed over the axes; in radii of
    the disc. It stands beside a loss of the disc, in a head with
    :class:`~mmlandmark.codecs.VotingCodec`.

    Args:
        reduction: See :class:`LandmarkLoss`.
        loss_weight: Factor of the loss.
    """

    compares_maps = False

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight, reduction)

    def seen_maps(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the offset maps, (B, K * D, *S).

        Raises:
            ValueError: ``pred`` and ``target`` differ in shape, or the codec has no offsets.
        """
        compared_maps(pred, target)
        count, dims = target.landmarks.shape[1:]
        if target.maps_per_landmark != 1 + dims:
            raise ValueError(
                f"OffsetL1Loss needs {1 + dims} maps per landmark, the codec has {target.maps_per_landmark}: "
                "give the head codec=dict(type='VotingCodec', radius=...)"
            )
        return pred.unflatten(1, (count, -1))[:, :, 1:].flatten(1, 2)

    def per_landmark(self, pred: Tensor, target: HeatmapTarget) -> Tensor:
        """Return the error of every landmark, (B, K); 0 where no pixel of the disc lies in the map."""
        dims, radius = target.landmarks.shape[-1], float(target.sigma)
        reach, size = math.ceil(radius) + 1, pred.new_tensor([float(s) for s in reversed(target.size)])
        # A disc far outside of the map has no pixel in it, wherever exactly it is.
        points = torch.minimum(target.landmarks.clamp(min=-2.0 * reach), size + 2 * reach)
        near = points.round()
        values, inside = local_window(pred, near.long().repeat_interleave(dims, 1), reach)
        steps = torch.arange(-reach, reach + 1, device=pred.device, dtype=pred.dtype)
        grid = torch.stack(torch.meshgrid(*[steps] * dims, indexing="ij")[::-1])  # (D, *W)
        offsets = ((points - near).view(*points.shape, *[1] * dims) - grid) / radius  # (B, K, D, *W)
        disc = (offsets.square().sum(2) <= 1) & inside[:, ::dims]
        errors = (values.view(offsets.shape) - offsets).abs().sum(2)
        area = disc.flatten(2).sum(-1).clamp(min=1)
        return torch.where(disc, errors, 0).flatten(2).sum(-1) / area
