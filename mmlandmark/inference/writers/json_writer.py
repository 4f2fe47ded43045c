"""Predictions as an annotation file of the project, for ``LandmarkDataset``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmlandmark.inference.writers.base_writer import (
    BaseWriter,
    coordinates,
    has_scores,
    significant,
    visibility,
)
from mmlandmark.registry import WRITERS
from mmlandmark.structures import LandmarkSchema, Prediction
from mmlandmark.utils.files import atomic_path
from mmlandmark.version import __version__

_SIDES = ("width", "height", "depth")


@WRITERS.register_module("json")
class JsonWriter(BaseWriter):
    """Writes the project's own JSON, which ``LandmarkDataset`` reads as it is.

    What an annotation does not have (scores, radii, ...) is in ``predicted`` of every sample, see
    ``docs/formats.md``.
    """

    FILE_NAME = "predictions.json"

    def write_stream(self, predictions: Iterator[Prediction], schema: LandmarkSchema, path: Path) -> None:
        """Write one sample after the other, a line per key."""
        head = dict(info=dict(made_by=f"mmlandmark {__version__}"), schema=schema.to_dict())
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write("{\n" + "".join(f'  "{key}": {_dumped(value)},\n' for key, value in head.items()))
            file.write('  "samples": [')
            separator = "\n"
            for one in predictions:
                lines = [f'      "{key}": {_dumped(value)}' for key, value in self._sample(one).items()]
                file.write(separator + "    {\n" + ",\n".join(lines) + "\n    }")
                separator = ",\n"
            file.write("\n  ]\n}\n")

    def _sample(self, one: Prediction) -> dict[str, Any]:
        sample: dict[str, Any] = {"id": one.sample_id, "image": self.image_name(one)}
        sample |= dict(zip(_SIDES, one.shape[::-1], strict=False))
        if one.spacing is not None:
            sample["spacing"] = list(one.spacing)
        sample["landmarks"] = coordinates(one.points)
        sample["visibility"] = visibility(one)
        return sample | {"predicted": _predicted(one)} if has_scores(one) else sample


def _predicted(one: Prediction) -> dict[str, Any]:
    """Return what only a prediction has; parts that the model does not provide are left out."""
    values: dict[str, Any] = {"scores": significant(one.scores)}
    for key in ("presence", "deviation", "spread"):
        if getattr(one, key) is not None:
            values[key] = significant(getattr(one, key))
    for key in ("radii", "regions"):
        if getattr(one, key):
            values[key] = {str(level): significant(value) for level, value in getattr(one, key).items()}
    if one.radii:
        values["radius_unit"] = one.radius_unit
    if one.flagged.any():
        values["reasons"] = list(one.reasons)
    if one.measures:
        values["measures"] = one.to_dict()["measures"]
    if one.world_points is not None and one.world_from_original is not None:
        values["world"] = coordinates(one.world_points)
        values["world_from_original"] = one.world_from_original.tolist()
    return values


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
