"""Point lists of 3D Slicer: ``.mrk.json`` and the older ``.fcsv``, in mm in patient axes (LPS)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmlandmark.datasets.frame_fit import Coordinates
from mmlandmark.datasets.values import is_number, number_of, text_number
from mmlandmark.utils.files import read_json, read_text
from mmlandmark.utils.near_names import did_you_mean
from mmlandmark.utils.table_text import cells_of

SUFFIXES = (".mrk.json", ".fcsv")
NameSource = Literal["label", "description"]
_SYSTEMS = {"LPS": "LPS", "RAS": "RAS", "0": "RAS", "1": "LPS"}  # the numbers are those of old .fcsv
_UNITS = {"mm": 1.0, "um": 1e-3}
_STATUS = {"defined": 1, "undefined": 0, "preview": 0, "missing": -1}
_FCSV_STATUS = {"": 1, "0": 0, "1": 0, "2": 1, "3": -1}
# Places of the fields of a line of .fcsv.
_XYZ, _LABEL, _DESCRIPTION, _FCSV_FIELDS = slice(1, 4), 11, 12, 14


@dataclass(frozen=True)
class PointList:
    """The points of a file, with names that are unique in it.

    Attributes:
        names: K names.
        points: (K, D) numbers of the file; NaN where a point is not placed.
        visibility: K of 1, placed; 0, not placed; -1, known to be absent.
        coordinates: What the numbers are; None if the file does not say it.
        named: Whether the file has names; else they count the points.
    """

    names: list[str]
    points: np.ndarray
    visibility: list[int]
    coordinates: Coordinates | None = "LPS"
    named: bool = True


def read_markups(path: str | Path, names_from: NameSource = "label") -> PointList:
    """Read the one point list of a file.

    Args:
        path: ``.mrk.json`` with one markup of type Fiducial, or ``.fcsv``. The file must say whether it is in
            LPS or RAS.
        names_from: Which text of a point is its name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is broken, or does not state its coordinate system; the message names file and point.
    """
    path = Path(path)
    rows = _fcsv_rows(path) if path.name.lower().endswith(".fcsv") else _json_rows(path)
    if not rows:
        raise ValueError(f"{path}: there is no point in it")
    other = "description" if names_from == "label" else "label"
    for where, texts, _, _ in rows:
        if not texts[names_from].strip():
            raise ValueError(f"{where}: the point has no {names_from}; is its name the {other}?")
    names = checked_names([texts[names_from] for _, texts, _, _ in rows], *(row[0] for row in rows))
    return PointList(names, np.stack([point for _, _, point, _ in rows]), [seen for *_, seen in rows])


def checked_names(names: Iterable[str], *where: str) -> list[str]:
    """Return the names of points.

    Args:
        names: The names.
        where: Place of every name, or of the file, for messages.

    Raises:
        ValueError: One is empty, not printable, or there twice.
    """
    checked: list[str] = []
    for index, name in enumerate(names):
        place = where[min(index, len(where) - 1)]
        if not name.strip():
            raise ValueError(f"{place}: a point has no name")
        if not name.isprintable():
            raise ValueError(f"{place}: the name {name!r} is not printable text")
        if name in checked:
            raise ValueError(f"{place}: a second point {name!r}; names must be unique in a file")
        checked.append(name)
    return checked


_Row = tuple[str, dict[str, str], np.ndarray, int]  # where, texts, (3,) mm in LPS, visibility


def _json_rows(path: Path) -> list[_Row]:
    data = read_json(path)
    markups = data.get("markups")
    if not isinstance(markups, list) or not all(isinstance(markup, dict) for markup in markups):
        raise ValueError(f"{path}: needs a list of objects under 'markups'; is it a file of 3D Slicer?")
    lists = [(i, markup) for i, markup in enumerate(markups) if markup.get("type") == "Fiducial"]
    if len(lists) != 1:
        types = [markup.get("type") for markup in markups]
        what = "save each as a file of its own" if lists else "place the points in a point list"
        raise ValueError(f"{path}: one point list (type 'Fiducial') is needed, it has {types}: {what}")
    index, markup = lists[0]
    where = f"{path}, markups[{index}]"
    to_lps = _to_lps(markup.get("coordinateSystem"), where) * _unit(
        markup.get("coordinateUnits", "mm"), where
    )
    points = markup.get("controlPoints", [])
    if not isinstance(points, list):
        raise ValueError(f"{where}: 'controlPoints' must be a list, got {points!r:.80}")
    return [_json_row(point, f"{where}, controlPoints[{i}]", to_lps) for i, point in enumerate(points)]


def _json_row(point: Any, where: str, to_lps: np.ndarray) -> _Row:
    if not isinstance(point, dict):
        raise ValueError(f"{where}: expected an object, got {point!r:.80}")
    texts = {key: point.get(key, "") for key in ("label", "description")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{where}: {key!r} must be text, got {text!r:.80}")
    status = point.get("positionStatus", "defined")
    if not isinstance(status, str) or status not in _STATUS:
        raise ValueError(f"{where}: positionStatus {status!r:.80} is not one of {list(_STATUS)}")
    seen = _STATUS[status]
    if seen == 0 and texts["description"].startswith("absent"):
        seen = -1  # as predictions are written, since the schema has no such status
    place = np.full(3, math.nan)
    if seen == 1:
        position = point.get("position")
        if not isinstance(position, list) or len(position) != 3 or not all(map(is_number, position)):
            raise ValueError(f"{where}: 'position' must be three numbers, got {position!r:.80}")
        place = np.array([number_of(number, where, "a coordinate") for number in position]) * to_lps
        if not np.isfinite(place).all():
            raise ValueError(f"{where}: 'position' {position!r:.80} is not finite")
    return where, texts, place, seen


def _fcsv_rows(path: Path) -> list[_Row]:
    lines = read_text(path, legacy=True).split("\n")
    system = next(
        (m[1] for line in lines if (m := re.match(r"#\s*CoordinateSystem\s*=\s*(\S*)", line))), None
    )
    to_lps = _to_lps(system, str(path))
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            rows.append(_fcsv_row(line, f"{path}, line {number}", to_lps))
    return rows


def _fcsv_row(line: str, where: str, to_lps: np.ndarray) -> _Row:
    fields = cells_of(line, ",", where)
    if len(fields) <= _LABEL:
        raise ValueError(
            f"{where}: {len(fields)} fields, expected id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,..."
        )
    fields += [""] * (_FCSV_FIELDS + 1 - len(fields))
    texts = dict(label=fields[_LABEL], description=fields[_DESCRIPTION])
    status = fields[_FCSV_FIELDS]  # Newer versions of Slicer append it without a name.
    if status not in _FCSV_STATUS:
        raise ValueError(f"{where}: the position status {status!r:.80} is not one of {list(_FCSV_STATUS)}")
    seen = _FCSV_STATUS[status]
    place = np.full(3, math.nan)
    if seen == 1:
        place = np.array([text_number(field, where) for field in fields[_XYZ]]) * to_lps
        if np.isnan(place).any():
            raise ValueError(f"{where}: the point has no position: {fields[_XYZ]}")
    return where, texts, place, seen


def _to_lps(system: Any, where: str) -> np.ndarray:
    """Return the (3,) factors from a coordinate system to LPS."""
    if system is None:
        raise ValueError(
            f"{where}: the file does not say whether it is in LPS or RAS, which differ by the signs of x and "
            "y; add coordinateSystem"
        )
    if not isinstance(system, str) or system not in _SYSTEMS:
        near = did_you_mean([str(system)], _SYSTEMS)
        raise ValueError(f"{where}: coordinateSystem {system!r:.80} is not LPS or RAS{near}")
    return np.ones(3) if _SYSTEMS[system] == "LPS" else np.array([-1.0, -1.0, 1.0])


def _unit(given: Any, where: str) -> float:
    """Return the mm of a unit: ``mm``, or a coded entry such as ``["mm", "UCUM", "millimeter"]``."""
    unit = given[0] if isinstance(given, list) and given else given
    if not isinstance(unit, str) or unit not in _UNITS:
        raise ValueError(f"{where}: coordinateUnits {given!r:.80} is not one of {list(_UNITS)}")
    return _UNITS[unit]
