"""Predictions as markups of 3D Slicer, a file per case."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.inference.case_files import case_file
from mmlandmark.inference.writers.base_writer import (
    BaseWriter,
    coordinates,
    has_scores,
    probably_absent,
    significant,
    visibility,
)
from mmlandmark.registry import WRITERS
from mmlandmark.structures import LandmarkSchema, Prediction, apply_matrix, world_matrix
from mmlandmark.utils.files import atomic_write_json

# Slicer compares this text with a pattern; it is a name, not an address.
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


@WRITERS.register_module("slicer")
class SlicerWriter(BaseWriter):
    """Writes ``<id>.mrk.json`` for every case: one point list in mm, in patient axes (LPS).

    The points lie in the frame of the image, so that they appear in their places when Slicer loads both. An
    image with a spacing, but without a place in the patient, is the plane z = 0. One without spacing has
    pixels of 1 mm, as Slicer assumes for it. A landmark that is not predicted is an ``undefined`` point; the
    description of an absent one begins with ``absent``.
    """

    FILE_NAME = "slicer"
    CASE_SUFFIX = ".mrk.json"

    def write_stream(self, predictions: Iterator[Prediction], schema: LandmarkSchema, path: Path) -> None:
        """Write a file per case; a ``/`` in an id begins a folder."""
        path.mkdir(parents=True, exist_ok=True)
        for one in predictions:
            atomic_write_json(case_file(path, one.sample_id, self.CASE_SUFFIX), _document(one), durable=False)


def _document(one: Prediction) -> dict[str, Any]:
    places = coordinates(_lps(one))
    points = [
        _control_point(one, k, place, seen)
        for k, (place, seen) in enumerate(zip(places, visibility(one), strict=True))
    ]
    markup = dict(
        type="Fiducial",
        coordinateSystem="LPS",
        coordinateUnits="mm",
        locked=False,
        fixedNumberOfControlPoints=True,  # A landmark can be placed, moved and unset, but not lost.
        labelFormat="%N-%d",
        lastUsedControlPointNumber=len(points),
        controlPoints=points,
        display=dict(visibility=True, pointLabelsVisibility=True),
    )
    return {"@schema": _SCHEMA, "markups": [markup]}


def _lps(one: Prediction) -> np.ndarray:
    """Return (K, 3) mm."""
    matrix = one.world_from_original
    if matrix is None:
        matrix = world_matrix(np.ones(len(one.shape)))
    world = apply_matrix(matrix, one.points)
    return np.pad(world, ((0, 0), (0, 3 - world.shape[1])))


def _control_point(one: Prediction, k: int, place: list[float] | None, seen: int) -> dict[str, Any]:
    point: dict[str, Any] = dict(id=str(k + 1), label=one.schema.landmarks[k])
    point["description"] = "; ".join(_remarks(one, k, seen))
    if place is not None:
        point["position"] = place
    return point | dict(
        selected=True,
        locked=False,
        visibility=True,
        positionStatus="undefined" if place is None else "defined",
    )


def _remarks(one: Prediction, k: int, seen: int) -> Iterator[str]:
    """Yield what a person who corrects the point should know."""
    if seen < 0:
        yield "absent"  # SlicerMarkups reads it as known
    elif probably_absent(one)[k]:
        yield "probably absent"
    score = significant(one.scores[k])
    if seen > 0 and score is not None:
        yield f"score {score:.3g}"
    if one.presence is not None and has_scores(one):
        yield f"presence {one.presence[k]:.3g}"
    for level, radii in sorted(one.radii.items()):
        if np.isfinite(radii[k]):
            yield f"{100 * level:g} % within {radii[k]:.3g} {one.radius_unit}"
    if one.reasons[k]:
        yield f"look: {one.reasons[k]}"
