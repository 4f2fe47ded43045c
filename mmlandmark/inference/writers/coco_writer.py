"""Predictions as COCO keypoints."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.inference.writers.base_writer import BaseWriter, coordinates, significant
from mmlandmark.registry import WRITERS
from mmlandmark.structures import LandmarkSchema, Prediction
from mmlandmark.utils.files import atomic_path
from mmlandmark.version import __version__


@WRITERS.register_module("coco")
class CocoWriter(BaseWriter):
    """Writes a COCO keypoint file: a category with names and links, and an annotation per image.

    Keypoints have v = 2, or 0 where they are not predicted; an image without any has no annotation. The box
    is that of the pixels of all keypoints.
    """

    FILE_NAME = "coco.json"
    DIMS = (2,)

    def write_stream(self, predictions: Iterator[Prediction], schema: LandmarkSchema, path: Path) -> None:
        """Write the images as they come; the annotations wait in a temporary file."""
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as notes,
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            info = dict(description=f"landmarks {schema.name}, predicted by mmlandmark {__version__}")
            file.write(f'{{\n"info": {_dumped(info)},\n"categories": [\n{_dumped(_category(schema))}\n],\n')
            file.write('"images": [')
            count = 0
            for number, one in enumerate(predictions, 1):
                file.write((",\n" if number > 1 else "\n") + _dumped(self._image(one, number)))
                if one.found.any():
                    count += 1
                    notes.write((",\n" if count > 1 else "\n") + _dumped(_annotation(one, number, count)))
            file.write('\n],\n"annotations": [')
            notes.seek(0)
            file.writelines(notes)
            file.write("\n]\n}\n")

    def _image(self, one: Prediction, number: int) -> dict[str, Any]:
        height, width = one.shape
        name = self.image_name(one) or one.sample_id
        image: dict[str, Any] = dict(
            id=number, file_name=name, width=width, height=height, sample_id=one.sample_id
        )
        return image if one.spacing is None else image | dict(spacing=list(one.spacing))


def _category(schema: LandmarkSchema) -> dict[str, Any]:
    return dict(
        id=1,
        name=schema.name,
        supercategory="",
        keypoints=list(schema.landmarks),
        skeleton=[[a + 1, b + 1] for a, b in schema.links],  # COCO counts from 1
    )


def _annotation(one: Prediction, image: int, number: int) -> dict[str, Any]:
    keypoints = [[0, 0, 0] if point is None else [*point, 2] for point in coordinates(one.points)]
    low, high = (f(one.points[one.found], axis=0) for f in (np.min, np.max))
    sides = high - low + 1
    note = dict(
        id=number,
        image_id=image,
        category_id=1,
        keypoints=[number for point in keypoints for number in point],
        num_keypoints=int(one.found.sum()),
        bbox=significant(np.concatenate([low - 0.5, sides])),
        area=significant(float(sides.prod())),
        iscrowd=0,
    )
    scores = significant(one.scores[one.found])
    if None in scores:
        return note
    return note | dict(score=significant(float(np.mean(scores))), keypoint_scores=significant(one.scores))


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
