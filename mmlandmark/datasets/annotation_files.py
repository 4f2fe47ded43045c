"""The project's own annotation files, JSON and CSV; the formats are documented in docs/datasets.md."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.records import marked
from mmlandmark.structures import LandmarkSchema

_AXES = "xyz"
_MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}
_IMAGE_COLUMNS = ("image", "img_path", "file", "filename", "file_name", "path")
_ID_COLUMNS = ("id", "sample_id", "image_id", "name")
_PLAIN_COLUMNS = ("group", "split", "fold")
_SAMPLE_KEYS = {
    "id",
    "image",
    "landmarks",
    "readings",
    "visibility",
    "weights",
    "spacing",
    "group",
    "split",
    "fold",
    "width",
    "height",
}
_FILE_KEYS = {"schema", "spacing", "samples", "info"}


@dataclass
class Annotations:
    """What an annotation file holds: records with ``image`` relative to the image folder, and a schema."""

    records: list[dict[str, Any]]
    schema: LandmarkSchema | None = None


def read_annotations(path: str | Path, dims: int = 2, names: Sequence[str] | None = None) -> Annotations:
    """Read the project's JSON (``.json``) or CSV (``.csv``, ``.tsv``, ``.txt``).

    Args:
        path: The file.
        dims: Axes of a point in a CSV without a header, 2 or 3.
        names: Landmark names of the wanted schema; named columns or keys are brought into this order.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is broken; file and line or key are named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"annotation file {str(path)!r} does not exist; check data_root and ann_file")
    if path.suffix.lower() == ".json":
        return read_json(path, names)
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return read_csv(path, dims, names)
    raise ValueError(
        f"{path}: annotation files end in .json, .csv, .tsv or .txt; other formats have own dataset classes"
    )


def load_json(path: str | Path) -> Any:
    """Return the content of a JSON file; ValueError names file and line if it is broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file") from error


# ---- JSON ---------------------------------------------------------------------------------------------


def read_json(path: Path, names: Sequence[str] | None = None) -> Annotations:
    """Read the documented JSON file; see :func:`read_annotations`."""
    data = load_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("samples"), list):
        hint = "; this looks like COCO, use type='CocoKeypoints'" if "annotations" in data else ""
        raise ValueError(f"{path}: needs a list under 'samples'{hint}")
    unknown = sorted(set(data) - _FILE_KEYS)
    if unknown:
        raise ValueError(f"{path}: unknown keys {unknown}; known are {sorted(_FILE_KEYS)}")
    schema = None
    if data.get("schema") is not None:
        given = data["schema"]
        beside = path.parent / given if isinstance(given, str) else None
        schema = LandmarkSchema.load(beside if beside is not None and beside.is_file() else given)
        names = names or schema.landmarks
    records = [_json_record(s, f"{path}, samples[{i}]", names) for i, s in enumerate(data["samples"])]
    if data.get("spacing") is not None:
        for record in records:
            record.setdefault("spacing", data["spacing"])
    return Annotations(records, schema)


def _json_record(sample: Any, where: str, names: Sequence[str] | None) -> dict[str, Any]:
    if not isinstance(sample, dict) or not ("id" in sample or "image" in sample):
        raise ValueError(f"{where}: a sample is an object with 'image', 'landmarks' and optionally 'id'")
    readings = sample.get("readings")
    if "landmarks" not in sample and readings is None:
        raise ValueError(f"{where}: 'landmarks' is missing; write null if the image is not annotated")
    if readings is not None and not (isinstance(readings, list) and readings):
        raise ValueError(f"{where}: 'readings' must be a list with the landmarks of every reader")
    record = {k: v for k, v in sample.items() if k not in _SAMPLE_KEYS}
    image = sample.get("image")
    record.update(sample_id=str(sample.get("id", Path(str(image)).stem)), image=image, source=where)
    record["landmarks"] = _json_points(sample.get("landmarks"), where, names)
    if readings is not None:
        points = [_json_points(r, f"{where}, readings[{i}]", names) for i, r in enumerate(readings)]
        if any(p is None or p.shape != points[0].shape for p in points):
            raise ValueError(f"{where}: every reader in 'readings' needs the same number of landmarks")
        given = record["landmarks"]
        record.update(marked(points))
        record["landmarks"] = record["landmarks"] if given is None else given
    for key in ("visibility", "weights", "spacing", "group", "split", "fold"):
        if sample.get(key) is not None:
            record[key] = sample[key]
    if sample.get("width") is not None and sample.get("height") is not None:
        record["ori_shape"] = (int(sample["height"]), int(sample["width"]))
    return record


def _json_points(value: Any, where: str, names: Sequence[str] | None) -> np.ndarray | None:
    """Return landmarks given as a list of points or as an object of named points."""
    if value is None:
        return None
    if isinstance(value, dict):
        if names is None:
            raise ValueError(
                f"{where}: landmarks are named, so the order must come from a schema; give 'schema'"
            )
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise ValueError(f"{where}: landmarks {unknown} are not in the schema; it has {list(names)}")
        value = [value.get(name) for name in names]
    if not isinstance(value, list) or not any(point is not None for point in value):
        if isinstance(value, list) and value and names is not None:
            return None
        raise ValueError(f"{where}: 'landmarks' must be a list of points, an object of named points, or null")
    dims = len(next(point for point in value if point is not None))
    rows = []
    for index, point in enumerate(value):
        row = [math.nan] * dims if point is None else [math.nan if c is None else c for c in point]
        if len(row) != dims or not all(isinstance(c, (int, float)) for c in row):
            raise ValueError(f"{where}: landmark {index} is {point!r}, expected {dims} numbers or null")
        rows.append(row)
    return np.asarray(rows, dtype=np.float32)


# ---- CSV ----------------------------------------------------------------------------------------------


def read_csv(path: Path, dims: int = 2, names: Sequence[str] | None = None) -> Annotations:
    """Read the documented CSV file; see :func:`read_annotations`."""
    rows = read_rows(path)
    if not rows:
        raise ValueError(f"{path}: the file is empty")
    header = [cell.strip() for cell in rows[0][1]]
    # A row of data has numbers (or gaps) after its first cell; a header has names.
    if any(not _is_number(cell) for cell in header[1:]):
        return _read_with_header(path, header, rows[1:], names)
    records = []
    for line, row in rows:
        where = f"{path}, line {line}"
        values = np.array([_number(cell, where) for cell in row[1:]], dtype=np.float32)
        if len(values) % dims or len(values) == 0:
            raise ValueError(
                f"{where}: {len(values)} numbers after the first cell are not points of {dims} coordinates"
            )
        record = _named_record(row[0].strip(), row[0].strip(), where)
        records.append(dict(record, landmarks=values.reshape(-1, dims)))
    return Annotations(records)


def read_rows(path: str | Path) -> list[tuple[int, list[str]]]:
    """Return the non-empty rows of a table with their line numbers; finds out ``,``, ``;`` or tab."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file") from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]


def _read_with_header(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]], names: Sequence[str] | None
) -> Annotations:
    where = f"{path}, line 1"
    doubles = sorted({h for h in header if header.count(h) > 1})
    if doubles:
        raise ValueError(f"{where}: columns named twice: {doubles}")
    lower = {h.lower(): i for i, h in enumerate(header)}
    points = {i: key for i, h in enumerate(header) if (key := _point_column(h)) is not None}
    if not points:
        raise ValueError(
            f"{where}: no columns of coordinates; call them like 'sella_x', 'sella_y' or 'x0', 'y0'"
        )
    found = list(dict.fromkeys(name for name, _ in points.values()))
    dims = 1 + max(axis for _, axis in points.values())
    order, schema = _landmark_order(found, names, dims, where)
    lost = [f"{n}_{_AXES[a]}" for n in found for a in range(dims) if (n, a) not in points.values()]
    if lost:
        raise ValueError(f"{where}: columns missing for {lost[:5]}")
    columns = {key: i for i, key in points.items()}
    image = next((lower[c] for c in _IMAGE_COLUMNS if c in lower), None)
    ident = next((lower[c] for c in _ID_COLUMNS if c in lower), None)
    if image is None and ident is None:
        raise ValueError(f"{where}: needs a column 'image' or 'id'; columns are {header[:8]}")
    used = {*points, image, ident}
    records = []
    for line, row in rows:
        here = f"{path}, line {line}"
        if len(row) != len(header):
            raise ValueError(f"{here}: {len(row)} cells, but the header has {len(header)}")
        cells = [cell.strip() for cell in row]
        record = _named_record(
            cells[ident] if ident is not None else None,
            cells[image] if image is not None else cells[ident],
            here,
        )
        record["landmarks"] = np.array(
            [
                [_number(cells[columns[name, a]], here) if name in found else math.nan for a in range(dims)]
                for name in order
            ],
            dtype=np.float32,
        )
        rest = {
            header[i]: cell for i, cell in enumerate(cells) if i not in used and cell.lower() not in _MISSING
        }
        _csv_extras(record, rest, dims, here)
        records.append(record)
    return Annotations(records, schema)


def _csv_extras(record: dict[str, Any], rest: dict[str, str], dims: int, where: str) -> None:
    """Put spacing, size, group, split, fold and any further columns into a record."""
    keys = {key.lower(): key for key in rest}
    axes = [f"spacing_{a}" for a in _AXES[:dims]]
    if "spacing" in keys:
        record["spacing"] = _number(rest.pop(keys["spacing"]), where)
    elif any(axis in keys for axis in axes):
        if not all(axis in keys for axis in axes):
            raise ValueError(f"{where}: spacing needs all of {axes}")
        record["spacing"] = [_number(rest.pop(keys[axis]), where) for axis in axes]
    if {"width", "height"} <= set(keys):
        record["ori_shape"] = tuple(int(_number(rest.pop(keys[k]), where)) for k in ("height", "width"))
    for key in _PLAIN_COLUMNS:
        if key in keys:
            record[key] = rest.pop(keys[key])
    for key, cell in rest.items():
        record.setdefault(key, _number(cell, where) if _is_number(cell) else cell)


def _named_record(ident: str | None, image: str | None, where: str) -> dict[str, Any]:
    if not (ident or image):
        raise ValueError(f"{where}: neither id nor image is given")
    return dict(
        sample_id=Path(ident or image).stem if ident == image else ident or Path(image).stem,
        image=image,
        source=where,
    )


def _point_column(name: str) -> tuple[str, int] | None:
    """Return (landmark, axis) of a column called like ``sella_x``, ``x12`` or ``p12x``."""
    match = re.fullmatch(r"(.+)[_ .]([xyz])", name, re.IGNORECASE)
    if match and match[1].lower() != "spacing":
        return match[1], _AXES.index(match[2].lower())
    match = re.fullmatch(r"([xyz])_?(\d+)", name, re.IGNORECASE)
    if match:
        return str(int(match[2])), _AXES.index(match[1].lower())
    match = re.fullmatch(r"p(\d+)([xyz])", name, re.IGNORECASE)
    return (str(int(match[1])), _AXES.index(match[2].lower())) if match else None


def _landmark_order(
    found: list[str], names: Sequence[str] | None, dims: int, where: str
) -> tuple[list[str], LandmarkSchema | None]:
    """Return the column names in the order of the landmarks, and a schema if the header makes one."""
    if all(name.isdigit() for name in found):
        return sorted(found, key=int), None
    if names is not None:
        unknown = [name for name in found if name not in names]
        if unknown:
            raise ValueError(f"{where}: landmarks {unknown[:5]} are not in the schema; it has {list(names)}")
        return list(names), None
    return found, LandmarkSchema(name="from_header", landmarks=tuple(found), dims=dims)


def _is_number(cell: str) -> bool:
    cell = cell.strip()
    if cell.lower() in _MISSING:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, where: str) -> float:
    cell = cell.strip()
    if cell.lower() in _MISSING:
        return math.nan
    try:
        return float(cell)
    except ValueError as error:
        raise ValueError(f"{where}: {cell!r} is not a number") from error
