"""Regression voting: the pixels near a landmark say where it is, and the place named most often wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmlandmark.codecs.base_codec import BaseCodec
from mmlandmark.codecs.candidates import Candidates
from mmlandmark.codecs.heatmap_codec import HeatmapCodec
from mmlandmark.codecs.heatmap_target import HeatmapTarget, OffsetTarget
from mmlandmark.registry import CODECS
from mmlandmark.structures import Detection


@CODECS.register_module()
class VotingCodec(HeatmapCodec):
    r"""A disc about every landmark and, from every pixel, the way to it: 1 + D maps per landmark.

    The maps of a landmark are the logit of the disc and the offsets along x, y[, z] in radii of the disc
    (Chen et al. 2019, *Cephalometric Landmark Detection by Attentive Feature Pyramid Fusion and
    Regression-Voting*). The pixels with the highest logits, as many as a disc has, vote for the pixel that
    their offset leads to; votes for places outside of the map are void. The published program has a radius of
    41 in 800 x 640 pixels and takes the pixel with the most votes (``decoder="argmax"``). It exchanges the
    sides of the image where it measures errors, which is not repeated here.

    Train the disc with ``HeatmapBCELoss`` and the offsets with ``OffsetL1Loss``; the publication weighs them
    2 to 1. Every other loss of heatmaps takes the map of the disc.

    Args:
        radius: Of the disc, in pixels of the map.
        voting: Decode by votes; False decodes the map of the disc, as after training without offsets.
        decoder: Of the votes, or of the disc: see :class:`HeatmapCodec`.
        window: Radius of the place that votes are counted for, in pixels of the map: for the decoder
            ``local_centroid`` and for the score, which is the share of the votes in it.
        dims: 2 or 3.

    Raises:
        ValueError: ``radius`` is not positive.
    """

    def __init__(
        self,
        radius: float,
        voting: bool = True,
        decoder: str | dict = "local_centroid",
        window: int = 3,
        dims: int = 2,
    ) -> None:
        super().__init__(radius, shape="disc", activation="sigmoid", decoder=decoder, window=window)
        self.radius, self.voting, self.dims = float(radius), voting, dims
        self.maps_per_landmark = 1 + dims
        area = math.pi * radius**2 if dims == 2 else 4 / 3 * math.pi * radius**3
        self.voters = max(1, int(area))

    @property
    def activation_scope(self) -> None:  # type: ignore[override]
        """See :class:`BaseCodec`: offsets have no activation, the disc has."""
        return None

    @property
    def reach(self) -> None:
        """See :class:`BaseCodec`: votes come from anywhere."""
        return None

    @property
    def gathers(self) -> bool:
        """See :class:`HeatmapCodec`: votes are counted."""
        return self.voting

    @property
    def _reach(self) -> int:
        return max(self.window, math.ceil(self.radius))

    def encode(
        self,
        landmarks: Tensor,
        mask: Tensor,
        weights: Tensor,
        input_size: Sequence[int],
        map_size: Sequence[int],
    ) -> OffsetTarget:
        """Return discs and offsets; see :meth:`BaseCodec.encode`."""
        plain = super().encode(landmarks, mask, weights, input_size, map_size)
        return OffsetTarget(plain.landmarks, plain.mask, plain.weights, plain.size, self.radius)

    def activate(self, outputs: Tensor) -> Tensor:
        """Return (B, N * (1 + D), *S) float maps; NaN where a map of a disc is not finite."""
        parts = outputs.unflatten(1, (-1, self.maps_per_landmark))
        discs = super().activate(parts[:, :, 0])
        return torch.cat([discs[:, :, None], parts[:, :, 1:].to(discs.dtype)], 2).flatten(1, 2)

    def votes(self, maps: Tensor) -> Tensor:
        """Return which share of the votes every pixel gets, (B, N, *S), NaN where a map is not finite.

        Args:
            maps: (B, N * (1 + D), *S) activated maps.
        """
        size = maps.shape[2:]
        parts = maps.unflatten(1, (-1, self.maps_per_landmark)).flatten(3)  # (B, N, 1 + D, P)
        finite = torch.isfinite(parts.sum((2, 3)))
        discs, offsets = parts[:, :, 0].nan_to_num(), parts[:, :, 1:]
        count = min(self.voters, discs.shape[-1])
        voters = discs.topk(count, -1, sorted=False).indices  # (B, N, V)
        rest, stride = voters, 1
        target, valid = torch.zeros_like(voters), torch.ones_like(voters, dtype=torch.bool)
        for axis, side in enumerate(reversed(size)):  # x first
            step = (self.radius * offsets[:, :, axis].gather(-1, voters)).round()
            # Far away is as good as infinitely far: it has to fit into an integer.
            place = rest % side + step.nan_to_num().clamp(-2 * side, 2 * side).long()
            valid &= (place >= 0) & (place < side)
            target += place.clamp(0, side - 1) * stride
            rest, stride = rest // side, stride * side
        # Whole numbers are summed, so that their order makes no difference.
        shares = torch.zeros_like(discs).scatter_add_(2, target, valid.to(discs.dtype)) / count
        return torch.where(finite[..., None], shares, torch.nan).unflatten(2, size)

    def _read(self, maps: Tensor) -> Tensor:
        """Return the maps (B, N, *S) in which landmarks have their peak."""
        return self.votes(maps) if self.voting else self.landmark_maps(maps)

    def decode(self, maps: Tensor, input_size: Sequence[int], spread: bool = False) -> Detection:
        """Detect every landmark in activated maps; see :meth:`HeatmapCodec.decode`.

        Scores are the share of the votes within the window about the winner. The spread is the covariance of
        the votes within a radius of it.
        """
        return super().decode(self._read(maps), input_size, spread)

    def candidates(self, maps: Tensor, input_size: Sequence[int], count: int) -> Candidates:
        """Return the places with the most votes; see :meth:`BaseCodec.candidates`."""
        return super().candidates(self._read(maps), input_size, count)

    def mirrored_values(self, maps: Tensor) -> Tensor:
        """Turn the offsets along x round; see :meth:`BaseCodec.mirrored_values`."""
        signs = maps.new_ones(self.maps_per_landmark)
        signs[1] = -1
        return maps * signs.view(-1, *[1] * self.dims)

    def resized(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Return maps at another size, whose discs have the same radius in pixels of the map."""
        new = BaseCodec.resized(self, maps, size).unflatten(1, (-1, self.maps_per_landmark))
        factors = [new_side / side for new_side, side in zip(size, maps.shape[2:], strict=True)]
        scale = new.new_tensor([1.0, *reversed(factors)]).view(-1, *[1] * self.dims)
        return (new * scale).flatten(1, 2)

    def comparable_by(self) -> dict[str, Any]:
        """Return what decides on the values of a map: offsets are in radii."""
        return {"type": type(self).__name__, "radius": self.radius}

    def given_target(self, maps: Tensor, target: HeatmapTarget) -> Any:
        """Raise ValueError: offsets of a teacher are no target; see :meth:`BaseCodec.given_target`."""
        return BaseCodec.given_target(self, maps, target)
