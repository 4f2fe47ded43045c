"""A detector that learns further tasks beside the landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import ModuleDict
from torch import Tensor

from mmlandmark.models.assembly import build_part
from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.detectors.base_detector import to_memory_format
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.models.taps import check_taps, record_outputs
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample


class Branch(BaseModule):
    """A task beside the landmarks: a decoder over features of the detector, and a head.

    Args:
        taps: Paths of the detector's modules of which the outputs go into the decoder, finest first.
        decoder: Config of a neck.
        head: Config of a head; its ``in_channels`` is the decoder's when absent.
        dims: Of the images, see :class:`LandmarkDetector`.
    """

    def __init__(self, taps: Sequence[str], decoder: dict, head: dict, dims: int | None = None) -> None:
        super().__init__()
        self.taps = list(taps)
        self.decoder = build_part(decoder, dims)
        self.head: BaseHeatmapHead = build_part(head, dims, self.decoder)

    def decode(self, features: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Return the features of the head, from the outputs of the taps by path."""
        return self.decoder([features[path] for path in self.taps])


@MODELS.register_module()
class MultiTaskDetector(LandmarkDetector):
    """A plain detector with branches that only training uses.

    It predicts what :class:`LandmarkDetector` with the same backbone, neck and head predicts: branches do not
    run outside of training, and the ``state_dict`` of its checkpoints is that of the plain detector.
    SEG-UNet5 of FSF-LD (Huang et al. 2022, section 3.4) has one branch that segments a disc around every
    landmark.

    Args:
        branches: Name -> ``taps``, ``decoder``, ``head``: see :class:`Branch`. Losses of a branch are named
            ``<name>_loss_<type>``; the heads weigh them.
        **kwargs: See :class:`LandmarkDetector`.

    Raises:
        ValueError: No branches, or a tap that names no module of the detector.
    """

    training_parts = ("branches",)
    taps_modules = True

    def __init__(self, branches: Mapping[str, dict], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not branches:
            raise ValueError("MultiTaskDetector needs at least one branch; without, use LandmarkDetector")
        for name, branch in branches.items():
            check_taps(self, branch["taps"], f"branch {name!r}: the detector")
        count = dict(num_landmarks=self.head.num_landmarks)
        self.branches = ModuleDict(
            {
                name: Branch(**dict(branch, head={**count, **branch["head"]}), dims=self.dims)
                for name, branch in branches.items()
            }
        )
        to_memory_format(self)

    @classmethod
    def plain_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config without the branches."""
        if cls is not MultiTaskDetector:
            return config
        plain = {key: value for key, value in config.items() if key != "branches"}
        return plain | dict(type="LandmarkDetector")

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the losses of the landmarks and of all branches."""
        with record_outputs(self, self._taps) as features:
            losses = super().loss(inputs, data_samples)
        for name, branch in self.branches.items():
            own = branch.head.loss(branch.decode(features), data_samples, inputs.shape[2:])
            losses.update({f"{name}_{loss}": value for loss, value in own.items()})
        return losses

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return all raw maps (B, R * K * M, *S) of a training step: landmarks, then every branch."""
        with record_outputs(self, self._taps) as features:
            maps = super().training_maps(inputs)
        for branch in self.branches.values():
            maps = [*maps, *branch.head(branch.decode(features))]
        return maps

    @property
    def _taps(self) -> list[str]:
        return [path for branch in self.branches.values() for path in branch.taps]
