"""Detectors that find different landmarks of an image, as one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from mmengine.model import ModuleList
from torch import Tensor

from mmlandmark.models.assembly import filled
from mmlandmark.models.detectors.base_detector import BaseDetector, plain_config, to_memory_format
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample

OF_ALL = ("data_preprocessor", "test_cfg")  # parts of all members together


@MODELS.register_module()
class LandmarkwiseDetector(LandmarkDetector):
    """Trained detectors of which each finds some landmarks of the image, often one; together they find all.

    ``mmlandmark test`` and ``mmlandmark pack`` build it from the runs of a config with ``per_landmark=True``.
    The members are one after the other in memory; with ``shared_backbone`` they have one backbone, which sees
    an image once. In a mirrored image a member finds what its partner finds in the image itself.

    Args:
        detectors: Configs of the members, which have backbone, neck and head as :class:`LandmarkDetector`,
            one annotator, and codecs that decode alike. Preprocessor and ``test_cfg`` are those of all.
        landmarks: Places of the landmarks of every member among all K; one after the other by default.
        shared_backbone: All members have the backbone of the first, such as a frozen one.
        dims: Of every member, see :class:`LandmarkDetector`.
        data_preprocessor: See :class:`BaseDetector`, likewise ``test_cfg``.
        test_cfg: ``flip``, ``views``, ``spread``, ``keep_heatmaps`` and ``shape_prior``.
        init_cfg: See MMEngine.

    Raises:
        ValueError: There is no member, one is of another kind, or brings a part that is that of all; codecs
            differ, or learn something of their own; or ``landmarks`` do not name each once.
    """

    not_trainable = (
        "LandmarkwiseDetector is made of trained detectors: train its members one by one, by a config with "
        "per_landmark=True"
    )

    def __init__(
        self,
        detectors: Sequence[dict],
        landmarks: Sequence[Sequence[int]] | None = None,
        shared_backbone: bool = False,
        dims: int | None = None,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        # Not that of LandmarkDetector, which builds parts of its own.
        BaseDetector.__init__(self, data_preprocessor, test_cfg, init_cfg)
        if not detectors:
            raise ValueError("LandmarkwiseDetector needs at least one detector")
        self.dims, self.shared_backbone = dims, shared_backbone
        self.members = ModuleList()
        for config in detectors:
            member = _built(config, dims)
            if shared_backbone and len(self.members):
                del member.backbone  # it would be the first member's once more
            self.members.append(member)
        heads, codecs = [m.head for m in self.members], [config["head"]["codec"] for config in detectors]
        _check_alike(heads, codecs)
        self.head = JoinedHead(heads, landmarks, codecs[0])
        self.add_shape_choice()
        to_memory_format(self)

    @classmethod
    def plain_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config with plain members."""
        return config | dict(detectors=[plain_config(member) for member in config["detectors"]])

    def extract_features(self, inputs: Tensor) -> Sequence[Tensor]:
        """Return the raw maps of every member, from (B, C, *S) images."""
        if not self.shared_backbone:
            return [member.raw_maps(inputs) for member in self.members]
        levels = self.members[0].backbone(inputs)
        return [
            member.head(member.features_of(levels, inputs), all_levels=False)[0] for member in self.members
        ]

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Raise NotImplementedError: members are trained before they come together."""
        raise NotImplementedError(self.not_trainable)


class JoinedHead(BaseHeatmapHead):
    """Puts the maps of several heads into the order of the landmarks, and decodes them together.

    Args:
        heads: Of the members.
        landmarks: See :class:`LandmarkwiseDetector`.
        codec: Config of the codec of all heads.
    """

    def __init__(
        self, heads: Sequence[BaseHeatmapHead], landmarks: Sequence[Sequence[int]] | None, codec: dict
    ) -> None:
        counts = [head.num_landmarks for head in heads]
        super().__init__(sum(counts), codec, (), dims=heads[0].dims)
        ends = list(accumulate(counts))
        places = [range(end - count, end) for end, count in zip(ends, counts, strict=True)]
        given = [list(part) for part in (places if landmarks is None else landmarks)]
        order = [k for part in given for k in part]
        if [len(part) for part in given] != counts or sorted(order) != list(range(len(order))):
            raise ValueError(
                f"LandmarkwiseDetector: landmarks must name 0 to {len(order) - 1} once each, {counts} of "
                f"them by detector, got {given}"
            )
        self.order = sorted(range(len(order)), key=order.__getitem__)

    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return the maps (B, K * M, *S) of all members, landmark by landmark.

        Args:
            features: Raw maps of every member.
            all_levels: There is one level of maps anyway.
        """
        maps = torch.cat(list(features), 1)
        if self.order == sorted(self.order):
            return [maps]
        return [maps.unflatten(1, (-1, self.codec.maps_per_landmark))[:, self.order].flatten(1, 2)]


def _built(config: dict, dims: int | None) -> LandmarkDetector:
    """Return a member.

    Raises:
        ValueError: It cannot be one.
    """
    own = [key for key in OF_ALL if config.get(key)]
    if own:
        raise ValueError(
            f"a member of LandmarkwiseDetector has {own[0]} of its own: it belongs to all, beside 'detectors'"
        )
    member = MODELS.build(filled(MODELS, config, dims=dims))
    if not isinstance(member, LandmarkDetector):
        raise ValueError(
            "LandmarkwiseDetector joins detectors of backbone, neck and head, such as LandmarkDetector and "
            f"TemplateDetector, not {type(member).__name__}"
        )
    return member


def _check_alike(heads: Sequence[BaseHeatmapHead], codecs: Sequence[dict]) -> None:
    """Raise ValueError if the maps of heads cannot be decoded together."""
    other = next((codec for codec in codecs if codec != codecs[0]), None)
    if other is not None:
        raise ValueError(
            f"the members of LandmarkwiseDetector must have equal codecs, got {codecs[0]} and {other}"
        )
    for head in heads:
        if next(head.codec.parameters(), None) is not None or head.presence is not None:
            part = "presence" if head.presence is not None else type(head.codec).__name__
            raise ValueError(
                f"LandmarkwiseDetector decodes the maps of all members together, and {part} of a member has "
                "learnt something of its own: use a codec without parameters, and no presence"
            )
        if head.num_annotators > 1:
            raise ValueError(
                f"the members of LandmarkwiseDetector must find the mean of annotators, one has "
                f"{head.num_annotators}: set head.num_annotators=1"
            )
