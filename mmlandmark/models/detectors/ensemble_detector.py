"""Several detectors in one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import ModuleList
from torch import Tensor

from mmlandmark.models.detectors.base_detector import BaseDetector
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample


@MODELS.register_module()
class EnsembleDetector(BaseDetector):
    """Detectors that differ in their random start, trained side by side; their mean point is predicted.

    Where few images are at hand, what a network learns beyond them depends on its start, and the errors
    of several starts partly cancel in their mean. A config becomes an ensemble by ``type`` and
    ``members``; the rest stays.

    Args:
        members: Number of detectors, M.
        data_preprocessor: See :class:`BaseDetector`, likewise ``test_cfg`` and ``init_cfg``.
        test_cfg: ``flip``, ``views`` and ``keep_heatmaps``.
        init_cfg: See MMEngine.
        **detector: Arguments of every member, see :class:`LandmarkDetector`.

    Raises:
        ValueError: ``members`` is below 1.
    """

    def __init__(
        self,
        members: int,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
        **detector: Any,
    ) -> None:
        super().__init__(data_preprocessor, test_cfg, init_cfg)
        if members < 1:
            raise ValueError(f"EnsembleDetector needs at least 1 member, got {members}")
        # MMEngine's: it hands init_weights on to the members.
        self.members = ModuleList(
            LandmarkDetector(data_preprocessor=data_preprocessor, **detector) for _ in range(members)
        )

    @property
    def head(self) -> BaseHeatmapHead:
        """The head that decodes for all; the members' differ in their weights only."""
        return self.members[0].head

    def raw_maps(self, inputs: Tensor) -> Tensor:
        """Return the members' mean raw maps (B, R * K, *S)."""
        return torch.stack([member.raw_maps(inputs) for member in self.members]).mean(0)

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return all raw maps (B, R * K, *S) that training makes, member by member."""
        return [maps for member in self.members for maps in member.training_maps(inputs)]

    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the members' mean maps, mean points and lowest scores; see :meth:`BaseDetector.detect`."""
        maps, points, scores = zip(
            *(member.detect(inputs, flip_permutation) for member in self.members), strict=True
        )
        return sum(maps) / len(maps), torch.stack(points).mean(0), torch.stack(scores).amin(0)

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the members' losses, summed by name: each member learns as it would alone."""
        losses = [member.loss(inputs, data_samples) for member in self.members]
        return {name: sum(part[name] for part in losses) for name in losses[0]}
