"""Trained detectors of any kind, tested together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmlandmark.models.detectors.base_detector import BaseDetector
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample

AVERAGES = ("points", "heatmaps")


@MODELS.register_module()
class MixedEnsemble(BaseDetector):
    """Detectors that were trained one by one, of one kind or of several, for the same landmarks and input.

    Every member normalises the image as it was trained to. ``mmlandmark ensemble`` builds one from work
    folders. To train several of one kind side by side there is :class:`EnsembleDetector`.

    Args:
        detectors: Configs of the members.
        average: ``points``: every member decodes, and the mean point counts; ``heatmaps``: the mean map is
            decoded, by the first member's codec, for which all maps need one size.
        data_preprocessor: Of what all members share; no normalisation by default.
        test_cfg: ``flip``, ``views`` and ``keep_heatmaps``, see :class:`BaseDetector`.
        init_cfg: See MMEngine.

    Raises:
        ValueError: No members, they differ in their number of landmarks, or ``average`` is unknown.
    """

    def __init__(
        self,
        detectors: Sequence[dict],
        average: str = "points",
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(data_preprocessor, test_cfg, init_cfg)
        if average not in AVERAGES:
            raise ValueError(f"average must be one of {AVERAGES}, got {average!r}")
        self.average = average
        self.members = nn.ModuleList(MODELS.build(detector) for detector in detectors)
        counts = sorted({member.head.num_landmarks for member in self.members})
        if len(counts) != 1:
            raise ValueError(
                f"the members of an ensemble must find the same landmarks, they find {counts or 'none'}"
            )

    @property
    def head(self) -> BaseHeatmapHead:
        """The first member's head."""
        return self.members[0].head

    def raw_maps(self, inputs: Tensor) -> Tensor:
        """Return the mean raw maps (B, R * K, *S), of members with one size of map."""
        return _mean([m.raw_maps(self._own(m, inputs)) for m in self.members])

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return all raw maps (B, R * K, *S) that training makes, member by member."""
        return [maps for m in self.members for maps in m.training_maps(self._own(m, inputs))]

    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Find the landmarks; see :meth:`BaseDetector.detect`. Scores are the lowest of all members."""
        found = []
        for member in self.members:
            permutation = flip_permutation
            if permutation is not None:  # for as many annotators as the member has
                count = member.head.num_landmarks
                first = list(permutation)[:count]
                permutation = [r * count + k for r in range(member.head.num_annotators) for k in first]
            found.append(member.detect(self._own(member, inputs), permutation))
        maps, points, scores = zip(*found, strict=True)
        if self.average == "heatmaps":
            mean = _mean(list(maps))
            return mean, *self.head.predict(mean, inputs.shape[2:])
        if (
            len({p.shape[1] for p in points}) > 1
        ):  # Not the same annotators: of each member their mean counts.
            points, scores = [p.mean(1, True) for p in points], [s.amin(1, True) for s in scores]
        return maps[0], torch.stack(list(points)).mean(0), torch.stack(list(scores)).amin(0)

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Not possible: members are trained before they come together."""
        raise NotImplementedError("MixedEnsemble is made of trained detectors: train its members one by one")

    @staticmethod
    def _own(member: BaseDetector, inputs: Tensor) -> Tensor:
        # Padded behind its normalisation, as the member learnt it.
        own = member.data_preprocessor
        return own.pad(own.normalize(inputs))


def _mean(maps: list[Tensor]) -> Tensor:
    shapes = sorted({tuple(m.shape[1:]) for m in maps})
    if len(shapes) != 1:
        raise ValueError(f"maps of different shapes have no mean: {shapes}; average points instead")
    return sum(maps) / len(maps)
