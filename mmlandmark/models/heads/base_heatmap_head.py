"""What heads share that regress heatmaps: the codec, the losses and the annotators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmlandmark.codecs import HeatmapTarget
from mmlandmark.models.base_module import BaseModule
from mmlandmark.registry import CODECS, MODELS
from mmlandmark.structures import LandmarkDataSample


class BaseHeatmapHead(BaseModule):
    """A head that makes one map per landmark, at one or several resolutions.

    The codec is named here and nowhere else. The first level is the output; further levels are
    supervised during training only (deep supervision), each with its own weight and, since a target is
    drawn for any size, its own resolution.

    Args:
        num_landmarks: K.
        codec: Config of a codec.
        loss: Config of a loss, or a list of them; every loss is reported by its type.
        num_annotators: R. With several, the head learns each annotator apart and predicts their mean.
            Annotators differ by habits as well as by chance; a habit can be learnt, their mean is a place
            that no rule describes. Samples need ``gt_by_annotator``.
        levels: Number of supervised levels.
        level_weights: Weight of every level's losses; 1 for all by default.
        init_cfg: See MMEngine.

    Attributes:
        takes_image: Whether the image is wanted as the last of the features.

    Raises:
        ValueError: ``level_weights`` and ``levels`` differ in length.
    """

    takes_image = False

    def __init__(
        self,
        num_landmarks: int,
        codec: dict,
        loss: dict | Sequence[dict],
        num_annotators: int = 1,
        levels: int = 1,
        level_weights: Sequence[float] | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        weights = [1.0] * levels if level_weights is None else list(level_weights)
        if len(weights) != levels:
            raise ValueError(f"{len(weights)} level_weights for a head with {levels} supervised levels")
        self.num_landmarks, self.num_annotators, self.level_weights = num_landmarks, num_annotators, weights
        self.codec = CODECS.build(codec)
        losses = [loss] if isinstance(loss, dict) else list(loss)
        self.losses = nn.ModuleDict(
            {_loss_name(losses, i): MODELS.build(cfg) for i, cfg in enumerate(losses)}
        )

    @property
    def num_maps(self) -> int:
        """Maps per level: R * K, annotator by annotator."""
        return self.num_annotators * self.num_landmarks

    @abstractmethod
    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return raw maps (B, R * K, *S) of every supervised level, or of the first."""

    def encode(
        self,
        samples: Sequence[LandmarkDataSample],
        input_size: Sequence[int],
        map_size: Sequence[int],
        device,
    ) -> HeatmapTarget:
        """Return the codec's target for maps of ``map_size``.

        Raises:
            ValueError: A sample has another number of landmarks or annotators than the head; it is named.
        """
        for sample in samples:
            if len(sample.gt_landmarks) != self.num_landmarks:
                raise ValueError(
                    f"sample {sample.sample_id!r} has {len(sample.gt_landmarks)} landmarks, the head "
                    f"predicts {self.num_landmarks}: set head.num_landmarks or the dataset's landmarks"
                )
        read = [self._by_annotator(sample) for sample in samples]
        points = torch.stack([s.to_input(r.flatten(0, 1)) for s, r in zip(samples, read, strict=True)])
        # Without a consensus the annotators that marked the point still count; the codec masks what is NaN.
        mask = torch.stack([s.mask | s.gt_landmarks.isnan().any(-1) for s in samples])
        mask = mask.repeat(1, self.num_annotators).to(device)
        weights = torch.stack([s.gt_weights for s in samples]).repeat(1, self.num_annotators).to(device)
        return self.codec.encode(points.to(device), mask, weights, input_size, map_size)

    def _by_annotator(self, sample: LandmarkDataSample) -> Tensor:
        """Return what the head learns from a sample, (R, K, D) original pixels."""
        if self.num_annotators == 1:
            return sample.gt_landmarks[None]
        found = len(sample.gt_by_annotator) if "gt_by_annotator" in sample else 0
        if found != self.num_annotators:
            raise ValueError(
                f"sample {sample.sample_id!r} has the landmarks of {found} annotators, the head learns "
                f"{self.num_annotators}: set head.num_annotators=1, or give the samples 'by_annotator'"
            )
        return sample.gt_by_annotator

    def loss(
        self, features: Sequence[Tensor], samples: Sequence[LandmarkDataSample], input_size: Sequence[int]
    ) -> dict[str, Tensor]:
        """Return the losses of all levels, named ``loss_<type>[_level<i>]``."""
        results = {}
        for level, (maps, weight) in enumerate(zip(self(features), self.level_weights, strict=True)):
            target = self.encode(samples, input_size, maps.shape[2:], maps.device)
            for name, module in self.losses.items():
                results[f"loss_{name}" + (f"_level{level}" if level else "")] = weight * module(maps, target)
        return results

    def predict(self, heatmaps: Tensor, input_size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Decode activated maps to (B, R, K, D) input pixels and (B, R, K) scores of every annotator."""
        points, scores = self.codec.decode(heatmaps, input_size)
        annotators = (self.num_annotators, self.num_landmarks)
        return points.unflatten(1, annotators), scores.unflatten(1, annotators)


def _loss_name(losses: Sequence[dict], index: int) -> str:
    """Name a loss by its type in lower case; a second of the same type gets its number."""
    names = [str(cfg["type"]).rsplit(".", 1)[-1].removesuffix("Loss").lower() for cfg in losses]
    double = names.count(names[index]) > 1
    return f"{names[index]}{index}" if double else names[index]
