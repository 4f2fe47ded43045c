"""Features and heatmaps of one image, for pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmlandmark.models.detectors import BaseDetector
from mmlandmark.models.taps import record_outputs


def seen_by(model: BaseDetector, inputs: Tensor, paths: Sequence[str]) -> list[tuple[str, Tensor]]:
    """Return features and heatmaps of the first image.

    Args:
        model: In test mode.
        inputs: (1, C, *S), preprocessed.
        paths: Modules to record, as in ``model.named_modules()``.

    Returns:
        Path and features (C', *S') of every module, then ``"heatmaps"`` and one activated map per landmark
        (R * K, *S'').
    """
    with record_outputs(model, paths) as features:
        codec = model.head.codec
        maps = codec.landmark_maps(codec.activate(model.raw_maps(inputs)))[0]
    return [*((path, features[path][0]) for path in paths), ("heatmaps", maps)]


def annotated_maps(model: BaseDetector, inputs: Tensor, sample: Any, size: Sequence[int]) -> Tensor:
    """Return the target maps (K, *S'') of a sample's annotation, zero for missing landmarks.

    Args:
        model: Its codec draws them.
        inputs: (1, C, *S), preprocessed.
        sample: A ``LandmarkDataSample`` with annotation.
        size: (*S'') of the maps.
    """
    points = sample.to_input(sample.gt_landmarks)[None].to(inputs.device)
    mask = sample.mask[None].to(inputs.device)
    codec = model.head.codec
    return codec.target_maps(codec.encode(points, mask, mask.float(), inputs.shape[2:], size))[0]


def finest_blocks(model: BaseDetector, count: int = 2) -> list[str]:
    """Return the last decoder blocks of a U-Net, the finest last; of other networks neck or backbone."""
    names = [name for name, _ in model.named_modules()]
    blocks = [name for name in names if re.fullmatch(r"backbone\.up\d+", name)]
    blocks.sort(key=lambda name: int(name.removeprefix("backbone.up")))
    return blocks[-count:] or ["neck" if "neck" in names else "backbone"]
