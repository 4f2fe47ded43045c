"""Annotated images in place of predictions, so that the writers write them, too."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.image_files import image_exists, image_frame, image_shape
from mmlandmark.structures import LandmarkSchema, Prediction, is_frame, world_matrix


def annotated_cases(dataset: LandmarkDataset) -> Iterator[Prediction]:
    """Yield the records of a data set as predictions, one at a time.

    Scores are NaN, which the writers leave out. A record that was a prediction, with ``predicted`` in the
    project's JSON, is that prediction again. The frame is that of the prediction, else of the image, else the
    spacing of the annotation.

    Raises:
        ValueError: The size of an image is unknown: the annotation does not state it, and there is no image;
            or ``predicted`` is not that of a prediction.
    """
    for index in range(len(dataset)):
        yield _case(dataset.get_data_info(index), dataset.schema)


def _case(record: dict[str, Any], schema: LandmarkSchema) -> Prediction:
    image = record["img_path"]
    exists = image is not None and image_exists(image)
    shape = record.get("ori_shape")
    if shape is None:
        if not exists:
            raise ValueError(
                f"{record.get('source')}: sample {record['sample_id']!r}: its image size is unknown; the "
                f"image {image!r} does not exist, and the annotation has no width and height"
            )
        shape = image_shape(image)
    said = {key: value for key, value in record.get("predicted", {}).items() if key != "world"}
    frame = _stated_frame(said.pop("world_from_original", None), schema.dims, str(record.get("source")))
    if frame is None:
        frame = _frame(image if exists else None, record.get("spacing"))
    marked = Prediction(
        sample_id=record["sample_id"],
        image=image,
        shape=shape,
        schema=schema,
        points=record["landmarks"],
        scores=np.full(len(schema), math.nan),
        world_from_original=frame,
        presence=_presence(record),
    )
    if not said:
        return marked
    try:
        one = Prediction.from_dict(marked.to_dict() | _whole(said, schema.dims), schema)
        return one if marked.presence is None else _known_absent(one, marked.presence == 0)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{record.get('source')}: 'predicted' is not that of a prediction: {error}"
        ) from error


def _presence(record: dict[str, Any]) -> np.ndarray | None:
    """Return 0 for landmarks that are known to be absent; None if there are none."""
    seen = record.get("visibility")
    if seen is None or not (np.asarray(seen) < 0).any():
        return None
    return np.where(np.asarray(seen) < 0, 0.0, math.nan)


def _known_absent(one: Prediction, absent: np.ndarray) -> Prediction:
    """Return a prediction in which a person says of some landmarks that they are absent."""
    presence = np.full(len(one.schema), math.nan) if one.presence is None else one.presence
    return replace(
        one,
        scores=np.where(absent, math.nan, one.scores),
        presence=np.where(absent, 0.0, presence),
    )


def _whole(said: dict[str, Any], dims: int) -> dict[str, Any]:
    """Return what a prediction said, with a matrix of None for every landmark that it does not know."""
    nothing = [[None] * dims] * dims

    def filled(entries: list) -> list:
        return [nothing if entry is None else entry for entry in entries]

    whole = dict(said)
    if said.get("spread") is not None:
        whole["spread"] = filled(said["spread"])
    if "regions" in said:
        whole["regions"] = {level: filled(entries) for level, entries in said["regions"].items()}
    return whole


def _stated_frame(given: Any, dims: int, where: str) -> np.ndarray | None:
    """Return the frame in ``predicted``; ValueError if it is none."""
    if given is None:
        return None
    try:
        matrix = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape not in {(dims + 1, dims + 1), (4, dims + 1)} or not is_frame(matrix):
        raise ValueError(
            f"{where}: 'predicted', world_from_original: {given!r:.80} is no frame of {dims}D pixels"
        )
    return matrix


def _frame(image: str | None, spacing: tuple[float, ...] | None) -> np.ndarray | None:
    frame = None if image is None else image_frame(image)
    return world_matrix(spacing) if frame is None and spacing is not None else frame
