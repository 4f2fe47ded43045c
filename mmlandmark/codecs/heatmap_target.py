"""What a loss compares predicted heatmaps with; the maps are drawn only if the loss asks for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from mmlandmark.ops import SEPARABLE_SHAPES, gaussian_heatmap, separable_profiles


@dataclass(frozen=True)
class HeatmapTarget:
    """The target of a set of maps, kept as the landmarks it is drawn from.

    :attr:`heatmaps` are drawn on first access, on the landmarks' device: a loss that works from the landmarks
    themselves never draws them.

    Attributes:
        landmarks: (B, K, D) float32 pixels of the map, (x, y[, z]).
        mask: (B, K) bool, landmark is annotated.
        weights: (B, K) float32, zero where ``mask`` is False.
        size: (*S) of the map.
        sigma: Width in pixels of the map: a number, or a tensor as :func:`mmlandmark.ops.gaussian_heatmap`
            takes it, through which gradients flow.
        shape: See :func:`mmlandmark.ops.gaussian_heatmap`, likewise ``normalize`` and ``scale``.
    """

    landmarks: Tensor
    mask: Tensor
    weights: Tensor
    size: tuple[int, ...]
    sigma: float | Tensor
    shape: str = "gaussian"
    normalize: str = "peak"
    scale: float = 1.0

    @property
    def maps_per_landmark(self) -> int:
        """Maps that a prediction has per landmark; :attr:`heatmaps` are the target of the first."""
        return 1

    @property
    def is_unit_gaussian(self) -> bool:
        """Whether the maps are Gaussians of height 1: some losses do not need them drawn."""
        return self.shape == "gaussian" and self.normalize == "peak" and self.scale == 1.0

    @property
    def exceeds_unit(self) -> bool:
        """Whether a drawn map is higher than 1. Given ones are as the teacher's codec has them.

        Of heights that ``scale`` does not tell the maps are drawn to see it.
        """
        if not self.scale > 1:
            return False
        return self.normalize == "peak" or bool((self.heatmaps > 1).any())

    @property
    def profiles(self) -> list[Tensor] | None:
        """D tensors (B, K, side) whose outer product is a map of height 1; None if the shape has none.

        A weighted sum over a map can be taken with them one axis at a time. They ignore the mask.
        """
        if self.shape not in SEPARABLE_SHAPES:
            return None
        sigma = torch.as_tensor(self.sigma, dtype=self.landmarks.dtype, device=self.landmarks.device)
        return separable_profiles(self.landmarks, self.size, sigma, self.shape)

    @property
    def inside(self) -> Tensor:
        """(B, K) bool: the landmark lies in the map, or outside of it by at most one ``sigma``."""
        last = self.landmarks.new_tensor([side - 0.5 for side in reversed(self.size)])
        beyond = torch.maximum(-0.5 - self.landmarks, self.landmarks - last).clamp(min=0)
        sigma = torch.as_tensor(self.sigma, dtype=beyond.dtype, device=beyond.device).detach()
        widths = sigma if sigma.ndim in (0, 3) else sigma[..., None]
        return (beyond / widths).square().sum(-1) <= 1

    def of_inside(self) -> HeatmapTarget:
        """Return the same target, with weight zero for landmarks that are not :attr:`inside`."""
        target = replace(self, weights=self.weights * self.inside)
        if "heatmaps" in vars(self):  # drawn already
            vars(target)["heatmaps"] = self.heatmaps
        return target

    @cached_property
    def heatmaps(self) -> Tensor:
        """(B, K, *S) float32 target maps; zero where the landmark is masked."""
        return gaussian_heatmap(
            self.landmarks,
            self.size,
            self.sigma,
            mask=self.mask,
            shape=self.shape,
            normalize=self.normalize,
            scale=self.scale,
        )


@dataclass(frozen=True)
class GivenTarget(HeatmapTarget):
    """A target whose maps are given, such as a teacher's.

    Attributes:
        given: (B, K, *S) float32 maps.
    """

    shape: str = "given"
    given: Tensor | None = None

    @property
    def inside(self) -> Tensor:
        """(B, K) bool, all true: a given map is a target wherever its landmark lies."""
        return torch.ones_like(self.mask)

    @cached_property
    def heatmaps(self) -> Tensor:
        """The maps as given, those of masked landmarks too."""
        assert self.given is not None
        return self.given


@dataclass(frozen=True)
class OffsetTarget(HeatmapTarget):
    """Discs of radius ``sigma``, and from every pixel of one the way to its centre, in radii.

    The offsets are not drawn: :class:`~mmlandmark.models.losses.OffsetL1Loss` works from the landmarks.
    """

    shape: str = "disc"

    @property
    def maps_per_landmark(self) -> int:
        """The disc, and an offset per axis."""
        return 1 + self.landmarks.shape[-1]
