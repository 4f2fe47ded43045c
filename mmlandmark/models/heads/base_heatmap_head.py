"""What all heatmap heads share: the codec, the losses and the annotators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmlandmark.codecs import BaseCodec
from mmlandmark.models.assembly import filled
from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.heads.presence import PresenceBranch
from mmlandmark.registry import CODECS, MODELS
from mmlandmark.structures import Detection, LandmarkDataSample


class BaseHeatmapHead(BaseModule):
    """A head that predicts the codec's maps of every landmark, at one or several resolutions.

    The codec is named here and nowhere else. The first level is the output; further levels are
    supervised during training only (deep supervision), each with its own weight and, since a codec
    encodes for any size, its own resolution.

    Args:
        num_landmarks: K.
        codec: Config of a codec; its ``num_landmarks`` and ``dims`` are filled in where it takes them.
        loss: Config of a loss, or a list of them; every loss is reported by its type. It is called with the
            raw maps and the codec's target; ``dims`` and the codec's ``activation`` are filled in where it
            takes them.
        num_annotators: R. With several, the head learns each annotator separately and predicts their mean:
            annotators differ by habit as well as by chance, and only a habit can be learned. Samples need
            ``gt_by_annotator``.
        levels: Number of supervised levels.
        level_weights: Weight of every level's losses; 1 for all by default.
        dims: Spatial dimensions of the maps, 2 or 3.
        presence: Learn how likely every landmark is in the image: arguments of :class:`PresenceBranch`, which
            may be empty; None leaves it out.
        init_cfg: See MMEngine.

    Attributes:
        takes_image: Whether :meth:`forward` needs the image as the last of the features.

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
        dims: int = 2,
        presence: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        weights = [1.0] * levels if level_weights is None else list(level_weights)
        if len(weights) != levels:
            raise ValueError(f"{len(weights)} level_weights for a head with {levels} supervised levels")
        self.num_landmarks, self.num_annotators, self.level_weights = num_landmarks, num_annotators, weights
        self.dims = dims
        self.codec: BaseCodec = CODECS.build(filled(CODECS, codec, num_landmarks=num_landmarks, dims=dims))
        configs = [loss] if isinstance(loss, dict) else loss
        known = dict(dims=dims, activation=self.codec.activation)
        losses = [MODELS.build(filled(MODELS, config, **known)) for config in configs]
        self.losses = nn.ModuleDict(dict(zip(_loss_names(losses), losses, strict=True)))
        sizes = dict(num_landmarks=num_landmarks, num_annotators=num_annotators, dims=dims)
        self.presence = None if presence is None else PresenceBranch(**sizes, **presence)

    @property
    def num_maps(self) -> int:
        """Maps per level: R * K * M, annotator by annotator, then landmark by landmark."""
        return self.num_annotators * self.num_landmarks * self.codec.maps_per_landmark

    @abstractmethod
    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return raw maps (B, R * K * M, *S) of every supervised level, or of the first."""

    def encode(
        self,
        samples: Sequence[LandmarkDataSample],
        input_size: Sequence[int],
        map_size: Sequence[int],
        device: torch.device | str,
    ) -> Any:
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
        marked = [self._by_annotator(sample) for sample in samples]
        points = torch.stack([s.to_input(m.flatten(0, 1)) for s, m in zip(samples, marked, strict=True)])
        # Without a consensus, annotators that marked the point still count; the codec masks what is NaN.
        mask = torch.stack([s.mask | s.gt_landmarks.isnan().any(-1) for s in samples])
        mask = mask.repeat(1, self.num_annotators).to(device)
        weights = torch.stack([s.gt_weights for s in samples]).repeat(1, self.num_annotators).to(device)
        return self.codec.encode(points.to(device), mask, weights, input_size, map_size)

    def _by_annotator(self, sample: LandmarkDataSample) -> Tensor:
        """Return what the head learns from a sample, (R, K, D) original pixels."""
        if self.num_annotators == 1:
            return sample.gt_landmarks[None]
        count = len(sample.gt_by_annotator) if "gt_by_annotator" in sample else 0
        if count != self.num_annotators:
            raise ValueError(
                f"sample {sample.sample_id!r} has the landmarks of {count} annotators, the head learns "
                f"{self.num_annotators}: set head.num_annotators=1, or give the samples 'by_annotator'"
            )
        return sample.gt_by_annotator

    def supervised_maps(
        self, features: Sequence[Tensor], samples: Sequence[LandmarkDataSample], input_size: Sequence[int]
    ) -> list[Tensor]:
        """Return the raw maps that a training step compares with its targets; all levels by default."""
        return self(features)

    def loss(
        self, features: Sequence[Tensor], samples: Sequence[LandmarkDataSample], input_size: Sequence[int]
    ) -> dict[str, Tensor]:
        """Return the losses of all levels, of the codec and of the presence.

        They are named ``loss_<type>[_level<i>]``, ``loss_codec_<name>`` and ``loss_presence``.
        """
        results: dict[str, Tensor] = {}
        own: dict[str, Tensor] = {}
        levels = self.supervised_maps(features, samples, input_size)
        for level, (maps, weight) in enumerate(zip(levels, self.level_weights, strict=True)):
            target = self.encode(samples, input_size, maps.shape[2:], maps.device)
            for name, module in self.losses.items():
                results[f"loss_{name}" + (f"_level{level}" if level else "")] = weight * module(maps, target)
            if level == 0:
                own = self.codec.losses(target)
        results.update({f"loss_codec_{name}": value for name, value in own.items()})
        if self.presence is not None:
            with torch.no_grad():
                detection = self.codec.decode(self.codec.activate(levels[0]), input_size, spread=True)
            results["loss_presence"] = self.presence.loss(detection, samples, input_size)
        return results

    def predict(self, maps: Tensor, input_size: Sequence[int], spread: bool = False) -> Detection:
        """Decode activated maps to a detection of every annotator, (B, R, K, ...) in input pixels.

        Args:
            maps: (B, R * K * M, *S), see :meth:`mmlandmark.codecs.BaseCodec.activate`.
            input_size: (*S) of the network's input.
            spread: Measure the spread of every landmark, if the codec can.
        """
        detection = self.codec.decode(maps, input_size, self.needs_spread(spread))
        return replace(self.completed(detection, input_size, spread), maps=maps)

    def needs_spread(self, spread: bool) -> bool:
        """Return whether the codec measures the spread: if it is wanted, or presence is read off it."""
        return spread or self.presence is not None

    def completed(self, detection: Detection, input_size: Sequence[int], spread: bool) -> Detection:
        """Return what the codec has decoded (B, R * K) as the head's answer (B, R, K), with the presence.

        Args:
            detection: In input pixels, with a spread where :meth:`needs_spread` says so.
            input_size: (*S) of the network's input.
            spread: Keep the spread.
        """
        if self.presence is not None:
            chances = self.presence.chances(detection, input_size)
            detection = replace(detection, presence=chances, spread=detection.spread if spread else None)
        return detection.with_annotators(self.num_annotators)


def the_one_level(in_channels: int | Sequence[int], head: str) -> int:
    """Return the channels of the only level that a head works on.

    Raises:
        ValueError: There are several.
    """
    levels = [in_channels] if isinstance(in_channels, int) else list(in_channels)
    if len(levels) != 1:
        raise ValueError(
            f"{head} works on one level, got in_channels {levels}: choose one by out_indices or a neck"
        )
    return levels[0]


def _loss_names(losses: Sequence[nn.Module]) -> list[str]:
    """Name losses by their types in lower case; several of one type get their number."""
    names = [type(loss).__name__.removesuffix("Loss").lower() for loss in losses]
    return [f"{name}{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]
