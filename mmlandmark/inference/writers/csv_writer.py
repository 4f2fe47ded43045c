"""Predictions as a table: a row per image, units in the header."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.table_columns import SIZES, SPACINGS, point_title, radius_title, world_title
from mmlandmark.inference.writers.base_writer import (
    BaseWriter,
    coordinates,
    has_scores,
    significant,
    visibility,
)
from mmlandmark.registry import WRITERS
from mmlandmark.structures import LandmarkSchema, MeasuredValue, Prediction
from mmlandmark.utils.files import atomic_path
from mmlandmark.utils.table_text import csv_text

# The kinds of columns, from left to right: the annotation first, so that a reader may cut off the rest.
_SAMPLE, _POINT, _VISIBILITY, _WORLD, _SCORE, _PRESENCE, _RADIUS, _REASON, _MEASURE = range(9)
_Row = dict[str, Any]  # cells by the names of their columns
_Columns = dict[str, tuple]  # columns with the key by which they are sorted


@WRITERS.register_module("csv")
class CsvWriter(BaseWriter):
    """Writes a CSV that ``LandmarkDataset`` reads, with world coordinates, scores, radii and measures in it.

    A column is written if any of the predictions has a value for it. Text that a spreadsheet would take for a
    formula, such as an id ``=1+1``, gets a leading apostrophe, which the reader takes away.

    Raises:
        ValueError: The name of a landmark begins with a blank, which a table does not keep.
    """

    FILE_NAME = "predictions.csv"

    def check(self, schema: LandmarkSchema) -> None:
        """Raise ValueError for a name that a table does not keep."""
        super().check(schema)
        blank = next((name for name in schema.landmarks if name != name.lstrip()), None)
        if blank is not None:
            raise ValueError(
                f"{self.FILE_NAME}: landmark {blank!r} begins with a blank, which a table does not keep; "
                "write json"
            )

    def write_stream(self, predictions: Iterator[Prediction], schema: LandmarkSchema, path: Path) -> None:
        """Collect the rows in a temporary file, since only the last one completes the header."""
        columns = _columns(schema)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as rows:
            for one in predictions:
                rows.write(json.dumps(self._row(one, columns)) + "\n")
            rows.seek(0)
            titles = sorted(columns, key=columns.__getitem__)
            with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(map(csv_text, titles))
                for row in map(json.loads, rows):
                    table.writerow(_cell(row.get(title)) for title in titles)

    def _row(self, one: Prediction, columns: _Columns) -> _Row:
        """Return the cells of a prediction; add its columns to those known so far."""
        row: _Row = {}

        def cell(title: str, value: Any, *place: Any) -> None:
            row[title] = value  # a column of the schema has its place already
            columns.setdefault(title, place)

        cell("id", one.sample_id)
        if (image := self.image_name(one)) is not None:  # a table keeps no blank before a cell
            cell("image", f"./{image}" if image[:1].isspace() else image, _SAMPLE, 1)
        for axis, side in enumerate(one.shape[::-1]):
            cell(f"{SIZES[axis]} [px]", side, _SAMPLE, 2, axis)
            if one.spacing is not None:
                cell(f"{SPACINGS[1 + axis]} [mm/px]", one.spacing[axis], _SAMPLE, 3, axis)
        if one.flagged.any():
            names = [one.schema.landmarks[k] for k in one.flagged.nonzero()[0]]
            cell("flagged", "; ".join(names), _SAMPLE, 4)
        seen, points, world = visibility(one), _numbers(one.points), _numbers(one.world_points)
        for k, name in enumerate(one.schema.landmarks):
            for axis, value in enumerate(points[k]):
                cell(point_title(name, axis), value)
            if seen[k] < 0:
                cell(f"{name} visibility", seen[k], _VISIBILITY, k)
            for axis, value in enumerate(world[k] if world else ()):
                cell(world_title(name, axis), value, _WORLD, k, axis)
            if not has_scores(one):
                continue
            cell(f"{name} score", significant(one.scores[k]), _SCORE, k)
            if one.presence is not None:
                cell(f"{name} presence", significant(one.presence[k]), _PRESENCE, k)
            for level, radii in sorted(one.radii.items()):
                cell(radius_title(name, level, one.radius_unit), significant(radii[k]), _RADIUS, level, k)
            if one.reasons[k]:
                cell(f"{name} reason", one.reasons[k], _REASON, k)
        for number, measure in enumerate(one.measures):
            for part, (title, value) in enumerate(_measure_cells(measure).items()):
                cell(title, value, _MEASURE, number, part)
        return row


def _cell(value: Any) -> Any:
    """Return a value for a table: text that a spreadsheet does not evaluate, numbers as they are."""
    return csv_text(value) if isinstance(value, str) else value


def _columns(schema: LandmarkSchema) -> _Columns:
    """Return the columns that every table has."""
    columns: _Columns = {"id": (_SAMPLE, 0)}
    for k, name in enumerate(schema.landmarks):
        columns |= {point_title(name, axis): (_POINT, k, axis) for axis in range(schema.dims)}
    return columns


def _numbers(points: np.ndarray | None) -> list[list]:
    """Return (K, D) coordinates as cells, None for those of a missing landmark."""
    if points is None:
        return []
    return [[None] * points.shape[1] if point is None else point for point in coordinates(points)]


def _measure_cells(measure: MeasuredValue) -> _Row:
    title = f"measure {measure.name}"
    unit = f" [{measure.unit}]" if measure.unit else ""
    cells: _Row = {f"{title}{unit}": significant(measure.value)}
    if measure.std is not None:
        cells[f"{title} std{unit}"] = significant(measure.std)
    if measure.label:
        cells[f"{title} class"] = measure.label
    if measure.label_probability is not None:
        cells[f"{title} class probability"] = significant(measure.label_probability)
    return cells
