"""A detector that learns from further tasks on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import ModuleDict
from torch import Tensor

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.detectors.base_detector import to_memory_format
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.models.taps import check_taps, listening
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample


class Branch(BaseModule):
    """A task beside the landmarks: a decoder over features of the detector, and a head.

    Args:
        taps: Paths of the detector's modules whose outputs the decoder takes, finest first.
        decoder: Config of a neck.
        head: Config of a head; its ``in_channels`` is the decoder's when absent.
    """

    def __init__(self, taps: Sequence[str], decoder: dict, head: dict) -> None:
        super().__init__()
        self.taps = list(taps)
        self.decoder = MODELS.build(decoder)
        self.head: BaseHeatmapHead = MODELS.build(dict(dict(in_channels=self.decoder.out_channels), **head))

    def decode(self, features: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Return what the head works on, from what the taps returned."""
        return self.decoder([features[path] for path in self.taps])


@MODELS.register_module()
class MultiTaskDetector(LandmarkDetector):
    """A plain detector with branches that are trained beside it and serve nothing else.

    What is found is what :class:`LandmarkDetector` with the same backbone, neck and head finds: branches are
    not run outside of training, and checkpoints keep them apart: their ``state_dict`` is that of the plain
    detector. SEG-UNet5 of FSF-LD (Huang et al. 2022, section 3.4) has one branch that segments a disc around
    every landmark.

    Args:
        branches: Name -> ``taps``, ``decoder``, ``head``: see :class:`Branch`. Losses of a branch are named
            ``<name>_loss_<type>``; their weights are in the heads.
        **kwargs: See :class:`LandmarkDetector`.

    Raises:
        ValueError: No branches, or a tap that the detector has no module for.
    """

    training_parts = ("branches",)

    def __init__(self, branches: Mapping[str, dict], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not branches:
            raise ValueError("MultiTaskDetector needs at least one branch; without, use LandmarkDetector")
        for name, branch in branches.items():
            check_taps(self, branch["taps"], f"branch {name!r}: the detector")
        self.branches = ModuleDict(
            {
                name: Branch(
                    **dict(branch, head=dict(dict(num_landmarks=self.head.num_landmarks), **branch["head"]))
                )
                for name, branch in branches.items()
            }
        )
        to_memory_format(self)

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the losses of the landmarks and of all branches."""
        with listening(self, self._taps) as features:
            losses = super().loss(inputs, data_samples)
        for name, branch in self.branches.items():
            found = branch.head.loss(branch.decode(features), data_samples, inputs.shape[2:])
            losses.update({f"{name}_{loss}": value for loss, value in found.items()})
        return losses

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return all raw maps (B, R * K, *S) that training makes: of the landmarks, then of every branch."""
        with listening(self, self._taps) as features:
            maps = super().training_maps(inputs)
        for branch in self.branches.values():
            maps = [*maps, *branch.head(branch.decode(features))]
        return maps

    @property
    def _taps(self) -> list[str]:
        return [path for branch in self.branches.values() for path in branch.taps]
