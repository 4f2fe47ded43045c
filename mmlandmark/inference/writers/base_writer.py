"""The base of all writers, and what they share: checks, names of images, rounded numbers."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.evaluation.functional import PRESENT
from mmlandmark.structures import LandmarkSchema, Prediction

# Decimals of a coordinate in pixels or mm: far finer than the float32 that a network computes with.
DECIMALS = 6


class BaseWriter(ABC):
    """Writes predictions to a file, or to a folder with a file per case.

    A subclass overrides :meth:`write_stream`. It must hold a bounded number of predictions in memory, and
    replace an existing file only when the new one is whole.

    Args:
        image_dir: Folder of the images. Files name the images relative to it, as a dataset does whose
            ``image_dir`` it is. None, and images elsewhere: the path of the prediction.
    """

    FILE_NAME = ""  # in an output folder; of a folder, if the format has one file per case
    CASE_SUFFIX = ""  # of the file of each case, if the format has one per case
    DIMS: tuple[int, ...] = (2, 3)  # of the points that the format can hold

    def __init__(self, image_dir: str | Path | None = None) -> None:
        self.image_dir = None if image_dir is None else os.path.abspath(image_dir)

    def write(self, predictions: Iterable[Prediction], schema: LandmarkSchema, path: str | Path) -> int:
        """Write all predictions; return their number.

        Args:
            predictions: One per image, with unique ids; an iterator is consumed once.
            schema: The landmarks of all predictions.
            path: File or folder to write.

        Raises:
            ValueError: The format cannot hold points of so many coordinates, a prediction has other
                landmarks, or an id is there twice. Nothing is changed then at ``path``, if it is a file.
        """
        self.check(schema)
        counted = _Counted(predictions, schema)
        self.write_stream(iter(counted), schema, Path(path))
        return counted.count

    def check(self, schema: LandmarkSchema) -> None:
        """Raise ValueError if the format cannot hold these landmarks, before any of them is predicted."""
        if schema.dims not in self.DIMS:
            raise ValueError(
                f"{self.FILE_NAME}: this format holds points of {self.DIMS[0]} coordinates, and landmarks "
                f"{schema.name!r} have {schema.dims}; write json, csv or slicer"
            )

    @abstractmethod
    def write_stream(self, predictions: Iterator[Prediction], schema: LandmarkSchema, path: Path) -> None:
        """Write checked predictions."""

    def image_name(self, prediction: Prediction) -> str | None:
        """Return the name of the image for a file, with ``/`` between folders; None for an array."""
        if prediction.image is None:
            return None
        name = prediction.image
        if self.image_dir is not None:
            path = os.path.abspath(name)
            name = os.path.relpath(path, self.image_dir) if _is_below(path, self.image_dir) else path
        # A name that is not text on this machine becomes text, so that it does not end the whole file.
        return Path(name).as_posix().encode("utf-8", "replace").decode()


class _Counted:
    """Predictions that are checked and counted on their way."""

    def __init__(self, predictions: Iterable[Prediction], schema: LandmarkSchema) -> None:
        self.predictions, self.schema, self.count = predictions, schema, 0

    def __iter__(self) -> Iterator[Prediction]:
        seen: set[str] = set()
        for one in self.predictions:
            if one.schema.landmarks != self.schema.landmarks or len(one.shape) != self.schema.dims:
                raise ValueError(
                    f"prediction {one.sample_id!r} has {len(one.schema)} landmarks of schema "
                    f"{one.schema.name!r} in {len(one.shape)}D, not those of schema {self.schema.name!r} in "
                    f"{self.schema.dims}D; write the predictions of each model to files of their own"
                )
            if one.sample_id in seen:
                raise ValueError(f"two predictions have the id {one.sample_id!r}; ids must be unique")
            seen.add(one.sample_id)
            self.count += 1
            yield one


def visibility(prediction: Prediction) -> list[int]:
    """Return for every landmark 1, placed; 0, not placed; -1, known to be absent.

    Only a person knows that a landmark is absent: one that has a presence but no score. What a model makes of
    its own presence is a guess. In an annotation file it would teach the next model as if it were true, so it
    is written as not placed.
    """
    seen = prediction.found.astype(int)
    if prediction.presence is not None:
        by_person = ~np.isfinite(prediction.scores)
        seen[~prediction.found & by_person & (prediction.presence < PRESENT)] = -1
    return seen.tolist()


def probably_absent(prediction: Prediction) -> np.ndarray:
    """Return which landmarks a model withholds since it gives them a low presence, (K,) bool."""
    if prediction.presence is None:
        return np.zeros(len(prediction.schema), dtype=bool)
    guessed = np.isfinite(prediction.scores) & (prediction.presence < PRESENT)
    return ~prediction.found & guessed


def has_scores(prediction: Prediction) -> bool:
    """Return whether a model made the prediction; annotations have scores of NaN."""
    return bool(np.isfinite(prediction.scores).any())


def coordinates(points: np.ndarray) -> list[list[float] | None]:
    """Return (K, D) pixels or mm as rounded lists; None for a point that is not finite."""
    return [
        [round(x, DECIMALS) + 0.0 for x in point] if all(map(math.isfinite, point)) else None
        for point in points.tolist()
    ]


def significant(values: Any) -> Any:
    """Return numbers, or nested lists of them, with six significant digits; None where not finite."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [significant(value) for value in values]
    return float(f"{values:.6g}") if math.isfinite(values) else None


def _is_below(path: str, folder: str) -> bool:
    return Path(folder) in Path(path).parents
