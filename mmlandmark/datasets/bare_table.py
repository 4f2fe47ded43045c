"""Tables without a header: each row is an image and the coordinates of its landmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.image_files import ids_of_images, stem_of
from mmlandmark.datasets.table_rows import Rows, has_decimal_commas
from mmlandmark.datasets.values import MISSING, sample_id_of, text_number


def dims_without_header(
    path: Path,
    rows: Rows,
    dims: int | None,
    count: int | None,
    image_dims: Callable[[str], int | None] | None,
) -> int:
    """Return how many coordinates a point has, so that volumes are never read as twice as many flat points.

    The schema decides; without one, the first image that can be read; without any, the count of numbers, if
    the rows split into whole points in only one way.

    Raises:
        ValueError: The rows contradict the schema, or nothing decides.
    """
    where = f"{path}, line {rows[0][0]}"
    possible = [d for d in (2, 3) if _makes_points(rows, d, count)]
    if dims is not None:
        if count is not None and possible and dims not in possible:
            raise ValueError(
                f"{where}: the row holds {count} points of {possible[0]} coordinates, but the schema has "
                f'dims {dims}; write "dims": {possible[0]} in the schema'
            )
        return dims
    if image_dims is not None:
        known = next((d for _, row in rows if (d := image_dims(row[0].strip())) is not None), None)
        if known is not None:
            return known
    if len(possible) == 2:
        n = len(rows[0][1]) - 1
        raise ValueError(
            f"{where}: {n} numbers may be {n // 2} points of 2 coordinates or {n // 3} of 3, and no image "
            "tells which; give the dataset a schema with its dims, or the file a header with columns like "
            "'sella_x', 'sella_y'"
        )
    return possible[0] if possible else 2


def _makes_points(rows: Rows, dims: int, count: int | None) -> bool:
    """Return whether all rows split into points of ``dims`` coordinates, ``count`` of them if it is known.

    A point has all of its coordinates or none.
    """
    for _, row in _without_empty_end(rows, dims):
        missing = [cell.strip().lower() in MISSING for cell in row[1:]]
        points = [missing[i : i + dims] for i in range(0, len(missing), dims)]
        whole = all(len(point) == dims and len(set(point)) == 1 for point in points)
        if not points or not whole or count not in (None, len(points)):
            return False
    return True


def read_bare(path: Path, rows: Rows, dims: int, comma: bool) -> list[dict[str, Any]]:
    """Return the records of a table without a header."""
    rows = _without_empty_end(rows, dims)
    has_decimal_commas(path, [(line, row[1:]) for line, row in rows])  # refuses a mixture
    records, ids = [], ids_of_images(row[0].strip() for _, row in rows)
    for line, row in rows:
        where, image = f"{path}, line {line}", row[0].strip()
        values = np.array([text_number(cell, where, comma) for cell in row[1:]])
        if len(values) % dims or len(values) == 0:
            raise ValueError(
                f"{where}: {len(values)} numbers after the first cell are not points of {dims} coordinates"
            )
        record = named_record(ids.get(image), image, where)
        records.append(dict(record, landmarks=values.reshape(-1, dims)))
    return records


def _without_empty_end(rows: Rows, dims: int) -> Rows:
    """Return rows of equal length without the trailing empty cells that are not a whole point."""
    widths = {len(row) for _, row in rows}
    width = max(widths)
    spare = (width - 1) % dims
    if len(widths) > 1 or not spare or any(cell.strip() for _, row in rows for cell in row[width - spare :]):
        return rows
    return [(line, row[: width - spare]) for line, row in rows]


def named_record(ident: str | None, image: str | None, where: str) -> dict[str, Any]:
    """Return a new record with its id (by default the image's name without suffix), its image, its source.

    Raises:
        ValueError: Neither id nor image is given, or the id is not usable.
    """
    if not (ident or image):
        raise ValueError(f"{where}: neither id nor image is given")
    name = ident or stem_of(image or "")
    return dict(sample_id=sample_id_of(name, where), image=image or None, source=where)
