"""What a loss compares a predicted heatmap with, rendered only if it asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from mmlandmark.ops import SEPARABLE_SHAPES, gaussian_heatmap, separable_profiles


@dataclass(frozen=True)
class HeatmapTarget:
    """The target of one set of maps, as the landmarks it is drawn from.

    A loss that can work from the landmarks themselves need not touch :attr:`heatmaps`, which are drawn
    on the landmarks' device when first asked for.

    Attributes:
        landmarks: (B, K, D) float32 pixels of the map, (x, y[, z]).
        mask: (B, K) bool, landmark is annotated.
        weights: (B, K) float32, zero where ``mask`` is False.
        size: (*S) of the map.
        sigma: Width in pixels of the map.
        shape: See :func:`mmlandmark.ops.gaussian_heatmap`, likewise ``normalize`` and ``scale``.
    """

    landmarks: Tensor
    mask: Tensor
    weights: Tensor
    size: tuple[int, ...]
    sigma: float
    shape: str = "gaussian"
    normalize: str = "peak"
    scale: float = 1.0

    @property
    def is_unit_gaussian(self) -> bool:
        """Whether the maps are Gaussians of height 1, which some losses work from without drawing them."""
        return self.shape == "gaussian" and self.normalize == "peak" and self.scale == 1.0

    @property
    def profiles(self) -> list[Tensor] | None:
        """D tensors (B, K, side) whose outer product is a map of height 1; None where there are none.

        A sum over a map against these needs no map. They take no notice of the mask.
        """
        if self.shape not in SEPARABLE_SHAPES:
            return None
        sigma = self.landmarks.new_tensor(self.sigma)
        return separable_profiles(self.landmarks, self.size, sigma, self.shape)

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
    """A target whose maps are there already, such as what another model has found.

    Attributes:
        given: (B, K, *S) float32 maps.
    """

    shape: str = "given"
    given: Tensor | None = None

    @cached_property
    def heatmaps(self) -> Tensor:
        """The maps as given, those of masked landmarks too."""
        assert self.given is not None
        return self.given
