"""Landmarks found by how alike every pixel is to those of annotated images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlandmark.codecs.resizing import resized
from mmlandmark.models.heads.base_heatmap_head import BaseHeatmapHead
from mmlandmark.models.similarity import cells_of, cosine_maps, features_at
from mmlandmark.registry import MODELS


@MODELS.register_module()
class TemplateHead(BaseHeatmapHead):
    """Maps of how alike pixels are to the landmarks of one or several templates, without weights of its own.

    The cascade of CC2D (Yao et al. 2021, *One-Shot Medical Landmark Detection*): at every level of the
    features the cosine with a landmark's feature in the template, cut to 0..1 and enlarged to the size of the
    image; their product is the map of the landmark, and the cosines of all levels at its peak give the score.
    All landmarks are compared at once. With several templates the map is the mean over those that show the
    landmark.

    The features of the templates travel with the weights, as buffers. :meth:`learn` sets them;
    ``TemplateHook`` does so whenever the weights have changed. A landmark that no template shows is not
    predicted.

    Args:
        in_channels: Channels of the levels, finest first.
        num_landmarks: K.
        codec: Config of a codec with one map per landmark. ``HeatmapCodec(sigma=2, decoder="argmax")`` takes
            the pixel of the maximum as the publication does, another decoder finds a place between pixels.
        num_templates: T, annotated images.
        loss: Configs of losses of the maps, for training by annotated images; none by default.
        dims: 2 or 3.
        init_cfg: See MMEngine.

    Raises:
        ValueError: The codec takes several maps per landmark, or ``num_templates`` is below 1.
    """

    takes_image = True
    shown: Tensor

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_landmarks: int,
        codec: dict,
        num_templates: int = 1,
        loss: dict | Sequence[dict] = (),
        dims: int = 2,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_landmarks, codec, loss, dims=dims, init_cfg=init_cfg)
        if self.codec.maps_per_landmark != 1:
            raise ValueError(
                f"TemplateHead makes one map per landmark, {type(self.codec).__name__} takes "
                f"{self.codec.maps_per_landmark}: use HeatmapCodec"
            )
        if num_templates < 1:
            raise ValueError(f"num_templates of TemplateHead must be at least 1, got {num_templates}")
        channels = [in_channels] if isinstance(in_channels, int) else list(in_channels)
        self.num_templates, self.num_levels = num_templates, len(channels)
        for level, count in enumerate(channels):
            self.register_buffer(f"template{level}", torch.zeros(num_templates, num_landmarks, count))
        self.register_buffer("shown", torch.zeros(num_templates, num_landmarks))

    @property
    def templates(self) -> list[Tensor]:
        """(T, K, C) features of the templates' landmarks at every level."""
        return [getattr(self, f"template{level}") for level in range(self.num_levels)]

    @torch.no_grad()
    def learn(
        self, index: int, features: Sequence[Tensor], points: Tensor, size: Sequence[int], shown: Tensor
    ) -> None:
        """Keep the features of a template's landmarks.

        Args:
            index: Of the template, below T.
            features: Levels (V, C, *S) of V views of the template, finest first; (V, N, C, *S) where every
                landmark has features of its own.
            points: (V, N, D) pixels of the views: N landmarks in each, K together.
            size: (*S) of a view.
            shown: (K,) bool: landmarks that the template shows.
        """
        for own, level in zip(self.templates, features, strict=True):
            cells = cells_of(points, size, level.shape[-self.dims :])
            if level.ndim == self.dims + 3:
                vectors = features_at(level.flatten(0, 1), cells.reshape(-1, 1, self.dims)).flatten(0, 1)
            else:
                vectors = features_at(level, cells).flatten(0, 1)
            own[index] = torch.where(shown[:, None], vectors, 0).to(own.dtype)
        self.shown[index] = shown.to(self.shown.dtype)

    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return maps (B, K, *S) of the size of the image, NaN for landmarks that no template shows.

        Args:
            features: Levels (B, C, *S), finest first, or (B, K, C, *S) where every landmark has features of
                its own; then the image.
            all_levels: There is one level of maps anyway.
        """
        *levels, image = features
        total: Tensor | None = None
        for index in range(self.num_templates):
            maps = self.similarity(levels, index, image.shape[2:])
            maps = maps * self.shown[index].view(-1, *[1] * self.dims)
            total = maps if total is None else total + maps
        assert total is not None
        return [total / self.shown.sum(0).view(-1, *[1] * self.dims)]

    def similarity(self, levels: Sequence[Tensor], index: int, size: Sequence[int]) -> Tensor:
        """Return how alike pixels are to the landmarks of one template, (B, K, *S), 0 to 1.

        Args:
            levels: (B, C, *S) or (B, K, C, *S), finest first.
            index: Of the template.
            size: (*S) of the maps.
        """
        product: Tensor | None = None
        for level, own in zip(levels, self.templates, strict=True):
            maps = resized(self._cosines(level, own[index]).clamp(0, 1), size)
            product = maps if product is None else product * maps
        assert product is not None
        return product

    def _cosines(self, level: Tensor, vectors: Tensor) -> Tensor:
        """Return (B, K, *S) cosines of (B, C, *S) or (B, K, C, *S) features with vectors (K, C)."""
        if level.ndim == self.dims + 2:
            return cosine_maps(level, vectors[None])
        count = len(level)
        maps = cosine_maps(level.flatten(0, 1), vectors[:, None].repeat(count, 1, 1))
        return maps[:, 0].unflatten(0, (-1, len(vectors)))
