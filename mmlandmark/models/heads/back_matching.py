"""The choice among pixels that are like a template's landmark, by where they match in the template."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmlandmark.models.blocks import per_axis
from mmlandmark.models.similarity import cells_of, cosine_maps, features_at
from mmlandmark.structures import apply_matrix, resize_matrix


class BackMatching(nn.Module):
    """Takes the pixel whose best match in the template lies nearest to the landmark.

    The bidirectional matching of FM-OSD (Miao et al. 2024): of the pixels most like the template's landmark,
    each one's most similar pixel of the template is looked up, by the product of the cosines of all levels as
    for the maps. With several templates the mean distance over those that show the landmark decides.

    The features of the templates are kept on a grid, as buffers; their size is part of the config, so that
    weights fit it, whatever the size of a template.

    Args:
        in_channels: Channels of the levels.
        num_landmarks: K.
        num_templates: T.
        views: V of each template: 1, the whole, or K, a patch about each landmark.
        size: (*S) of the grid: that of the image as published, or a coarser one, of which every point stands
            for the pixels about it.
        top: Number of pixels among which it chooses.

    Raises:
        ValueError: ``top`` is below 1, or ``size`` is none.
    """

    places: Tensor
    steps: Tensor

    def __init__(
        self,
        in_channels: Sequence[int],
        num_landmarks: int,
        num_templates: int,
        views: int,
        size: Sequence[int],
        top: int = 3,
    ) -> None:
        super().__init__()
        if top < 1:
            raise ValueError(f"top of the matching must be at least 1, got {top}")
        self.size, self.top, self.num_levels = per_axis(size, len(size), "size"), top, len(in_channels)
        for level, channels in enumerate(in_channels):
            self.register_buffer(f"map{level}", torch.zeros(num_templates, views, channels, *self.size))
        self.register_buffer("places", torch.zeros(num_templates, num_landmarks, len(self.size)))
        self.register_buffer("steps", torch.ones(num_templates, len(self.size)))

    @property
    def maps(self) -> list[Tensor]:
        """(T, V, C, *S) features of the templates at every level."""
        return [getattr(self, f"map{level}") for level in range(self.num_levels)]

    @torch.no_grad()
    def learn(self, index: int, features: Sequence[Tensor], points: Tensor, size: Sequence[int]) -> None:
        """Keep the features of a template.

        Args:
            index: Of the template, below T.
            features: Levels (V, C, *S) of its views.
            points: (V, N, D) landmarks in pixels of the views, K together.
            size: (*S) of a view.

        Raises:
            ValueError: Landmarks have features of their own, (V, K, C, *S).
        """
        if features[0].ndim != 2 + len(size):
            raise ValueError(
                "the matching looks for pixels in one map of a template, but every landmark has a map of its "
                "own: leave model.head.matching out"
            )
        axes = [torch.arange(side, device=points.device) for side in self.size]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).flatten(0, -2)
        pixels = apply_matrix(resize_matrix(self.size, size), grid.double())
        for own, level in zip(self.maps, features, strict=True):
            cells = cells_of(pixels, size, level.shape[2:]).expand(len(level), -1, -1)
            own[index] = features_at(level, cells).mT.unflatten(2, self.size).to(own.dtype)
        self.places[index] = points.flatten(0, 1).to(self.places.dtype)
        steps = [side / count for side, count in zip(size, self.size, strict=True)]
        self.steps[index] = self.steps.new_tensor(steps[::-1])

    def forward(self, maps: Tensor, levels: Sequence[Tensor], shown: Tensor) -> Tensor:
        """Return maps that have their maximum at the chosen pixel.

        Pixels above it are lowered to just below it; all others keep their value.

        Args:
            maps: (B, K, *S) how alike pixels are to the landmarks; NaN for those that no template shows.
            levels: Features (B, C, *S) of the images.
            shown: (T, K) whether a template shows a landmark.
        """
        flat = maps.flatten(2)
        index = flat.topk(min(self.top, flat.shape[2])).indices
        distances = self.distances(_pixels(index, maps.shape[2:]), maps.shape[2:], levels)
        known = shown.T[None, :, :, None]  # (1, K, T, 1)
        mean = torch.where(known > 0, distances, 0).sum(2) / known.sum(2).clamp(min=1)
        chosen = index.gather(2, mean.argmin(2, keepdim=True))
        height = flat.gather(2, chosen)
        below = torch.nextafter(height, height.new_tensor(-torch.inf))
        return torch.minimum(flat, below).scatter(2, chosen, height).view(maps.shape)

    def distances(self, pixels: Tensor, size: Sequence[int], levels: Sequence[Tensor]) -> Tensor:
        """Return how far from the landmark the best match of pixels lies, in pixels of the templates.

        Args:
            pixels: (B, K, N, D) of the images, (x, y[, z]).
            size: (*S) of the images.
            levels: Features (B, C, *S) of the images.

        Returns:
            (B, K, T, N).
        """
        batch, count, top, _ = pixels.shape
        vectors = []
        for level in levels:
            cells = cells_of(pixels, size, level.shape[2:]).flatten(1, 2)
            vectors.append(features_at(level, cells).unflatten(1, (count, top)))  # (B, K, N, C)
        found = []
        for template, (places, steps) in enumerate(zip(self.places, self.steps, strict=True)):
            cells = self._best([own[template] for own in self.maps], vectors)
            matched = (cells.to(steps.dtype) + 0.5) * steps - 0.5
            found.append((matched - places[:, None]).norm(dim=3))
        return torch.stack(found, 2).view(batch, count, -1, top)

    def _best(self, maps: Sequence[Tensor], vectors: Sequence[Tensor]) -> Tensor:
        """Return the points of the grid (B, K, N, D) that are most like vectors (B, K, N, C)."""
        batch, count, top, _ = vectors[0].shape
        product: Tensor | None = None
        for own, vector in zip(maps, vectors, strict=True):
            # Each landmark's vectors with its own view, or all with the only one.
            asked = vector.transpose(0, 1).reshape(len(own), -1, vector.shape[3])
            cosines = cosine_maps(own, asked)
            product = cosines if product is None else product.clamp(min=0) * cosines.clamp(min=0)
        assert product is not None
        index = product.flatten(2).argmax(2).view(count, batch, top).transpose(0, 1)
        return _pixels(index, self.size)


def _pixels(index: Tensor, size: Sequence[int]) -> Tensor:
    """Return the pixels (..., D), (x, y[, z]), of places (...) in a flattened map; undoes ``flat_index``."""
    pixels = []
    for side in reversed(size):
        pixels.append(index % side)
        index = index // side
    return torch.stack(pixels, -1)
