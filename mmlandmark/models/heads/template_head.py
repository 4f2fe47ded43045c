"""Landmarks found by how alike every pixel is to those of annotated images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from mmlandmark.codecs.resizing import resized
from mmlandmark.models.heads.back_matching import BackMatching
from mmlandmark.models.heads.base_heatmap_head import BaseHeatmapHead
from mmlandmark.models.similarity import cells_of, cosine_maps, features_at
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample


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
        anchors: What the maps of a training step by annotated images are the likeness to: the landmarks of
            the ``template``, whose features get no gradient, or those of the ``image`` itself. With the
            latter, and ``HeatmapMSELoss``, it is the distance-aware similarity learning of FM-OSD (Miao et
            al. 2024); cosines are not cut.
        matching: Arguments of :class:`BackMatching`, ``dict(size=...)``: prediction takes, of the pixels most
            like a landmark, that which matches nearest to the landmark in the template. None takes the first.
        template_view: Of the detector, which hands it on: with ``patch`` a template is seen in K patches.
        dims: 2 or 3.
        init_cfg: See MMEngine.

    Raises:
        ValueError: The codec takes several maps per landmark, ``num_templates`` is below 1, or ``anchors`` is
            unknown, or ``image`` with several levels.
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
        anchors: Literal["template", "image"] = "template",
        matching: dict | None = None,
        template_view: Literal["image", "patch"] = "image",
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
        if anchors not in ("template", "image") or (anchors == "image" and len(channels) > 1):
            raise ValueError(
                "anchors of TemplateHead are those of the 'template' or, of one level of features, of the "
                f"'image', got {anchors!r} with {len(channels)} levels"
            )
        self.num_templates, self.num_levels = num_templates, len(channels)
        for level, count in enumerate(channels):
            self.register_buffer(f"template{level}", torch.zeros(num_templates, num_landmarks, count))
        self.register_buffer("shown", torch.zeros(num_templates, num_landmarks))
        self.anchors, self.matching = anchors, None
        if matching is not None:
            views = num_landmarks if template_view == "patch" else 1
            self.matching = BackMatching(channels, num_landmarks, num_templates, views, **matching)

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
        if self.matching is not None:
            self.matching.learn(index, features, points, size)

    @property
    def template_buffers(self) -> list[str]:
        """Names of the buffers that hold what it knows of its templates."""
        own = [name for name, _ in self.named_buffers(recurse=False)]
        kept = [] if self.matching is None else [name for name, _ in self.matching.named_buffers()]
        return [*own, *(f"matching.{name}" for name in kept)]

    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return maps (B, K, *S) of the size of the image, NaN for landmarks that no template shows.

        Args:
            features: Levels (B, C, *S), finest first, or (B, K, C, *S) where every landmark has features of
                its own; then the image.
            all_levels: For a training step. There is one level of maps, and ``matching`` is for prediction.
        """
        *levels, image = features
        total: Tensor | None = None
        for shown, maps in zip(self.shown, self.similarities(levels, image.shape[2:]), strict=True):
            maps = maps * shown.view(-1, *[1] * self.dims)
            total = maps if total is None else total + maps
        assert total is not None
        total = total / self.shown.sum(0).view(-1, *[1] * self.dims)
        if self.matching is not None and not all_levels:
            total = self.matching(total, levels, self.shown)
        return [total]

    def supervised_maps(
        self, features: Sequence[Tensor], samples: Sequence[LandmarkDataSample], input_size: Sequence[int]
    ) -> list[Tensor]:
        """Return the maps of a training step, see ``anchors``."""
        if self.anchors == "template":
            return super().supervised_maps(features, samples, input_size)
        points = torch.stack([sample.to_input(sample.gt_landmarks) for sample in samples])
        return [self.own_maps(features[0], points.nan_to_num().to(features[0].device), input_size)]

    def own_maps(self, level: Tensor, points: Tensor, size: Sequence[int]) -> Tensor:
        """Return how alike pixels are to points of the same image, (B, N, *S), -1 to 1.

        Args:
            level: Features (B, C, *S).
            points: (B, N, D) finite pixels of the images.
            size: (*S) of the images, and of the maps.
        """
        vectors = features_at(level, cells_of(points, size, level.shape[2:]))
        return resized(cosine_maps(level, vectors), size)

    def encode(
        self,
        samples: Sequence[LandmarkDataSample],
        input_size: Sequence[int],
        map_size: Sequence[int],
        device: torch.device | str,
    ) -> Any:
        """Return the codec's target; what lies outside of an image cannot be compared with itself."""
        target = super().encode(samples, input_size, map_size, device)
        return target.of_inside() if self.anchors == "image" else target

    def similarities(self, levels: Sequence[Tensor], size: Sequence[int]) -> Iterator[Tensor]:
        """Yield of each template how alike pixels are to its landmarks, (B, K, *S), 0 to 1.

        Args:
            levels: (B, C, *S) or (B, K, C, *S), finest first.
            size: (*S) of the maps.
        """
        # Of all templates at once while maps are small, and one after the other at the size of the image.
        pairs = zip(levels, self.templates, strict=True)
        cosines = [self._cosines(level, own).clamp(0, 1) for level, own in pairs]
        for index in range(self.num_templates):
            product: Tensor | None = None
            for level in cosines:
                maps = resized(level[:, index], size)
                product = maps if product is None else product * maps
            assert product is not None
            yield product

    def _cosines(self, level: Tensor, vectors: Tensor) -> Tensor:
        """Return (B, T, K, *S) cosines of (B, C, *S) or (B, K, C, *S) features with vectors (T, K, C)."""
        if level.ndim == self.dims + 2:
            maps = cosine_maps(level, vectors.flatten(0, 1)[None])
            return maps.unflatten(1, vectors.shape[:2])
        cases = level.shape[0]  # not len(), which would be one number in an exported program
        maps = cosine_maps(level.flatten(0, 1), vectors.transpose(0, 1).repeat(cases, 1, 1))
        return maps.unflatten(0, (cases, -1)).transpose(1, 2)
