"""Files with the points of one image: those of 3D Slicer, nnLandmark's JSON, and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.frame_fit import Coordinates
from mmlandmark.datasets.readers.markups import SUFFIXES as SLICER_SUFFIXES
from mmlandmark.datasets.readers.markups import NameSource, PointList, checked_names, read_markups
from mmlandmark.datasets.table_rows import legacy_text
from mmlandmark.datasets.values import is_number, is_text_number, number_of, text_number
from mmlandmark.utils.files import read_json
from mmlandmark.utils.near_names import plain
from mmlandmark.utils.table_text import cells_of

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
POINT_SUFFIXES = (*SLICER_SUFFIXES, ".json", *TABLE_SUFFIXES)
# What the letters of columns say about their numbers; x, y, z say nothing.
_AXES: dict[str, Coordinates | None] = {"lps": "LPS", "ras": "RAS", "ijk": "pixels", "xyz": None}
_LABELS = ("label", "name", "landmark", "point", "id")
_DESCRIPTIONS = ("description", "desc")
_SYSTEM = re.compile(r"#\s*coordinate_?\s*system\s*[=:]\s*(\w+)", re.IGNORECASE)
_UNIT = re.compile(r"\s*\[(\w+)\]$")
_SYSTEMS: dict[str, Coordinates] = {
    "lps": "LPS", "1": "LPS", "ras": "RAS", "0": "RAS",
    **dict.fromkeys(("pixels", "voxels", "ijk"), "pixels"),
}  # fmt: skip
_NOT_LANDMARKS = ("spacing", "background")  # other entries of nnLandmark's predictions


def read_points(path: str | Path, names_from: NameSource = "label", dims: int = 3) -> PointList:
    """Read the points of one image.

    ``.mrk.json`` and ``.fcsv`` are files of 3D Slicer, and so is a ``.json`` with ``markups``; any other
    ``.json`` holds voxels by name, as nnLandmark writes them. Tables (``.csv``, ``.tsv``, ``.txt``) have one
    point a line: a name and its coordinates, or the coordinates alone, separated by commas, semicolons, tabs
    or blanks. A header with columns ``l, p, s`` or ``r, a, s``, as Slicer exports them, ``i, j, k``, or with
    units, ``x [mm]`` (LPS) or ``x [px]``, says what the numbers are, and so does a line
    ``# CoordinateSystem = RAS``. Points without names are called 1, 2, ...

    Args:
        path: The file.
        names_from: Which text of a point is its name.
        dims: Coordinates of a point in a table without a header.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is broken; the message names file and line or key.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(SLICER_SUFFIXES):
        return read_markups(path, names_from)
    if name.endswith(".json"):
        data = read_json(path)
        return read_markups(path, names_from) if "markups" in data else _by_name(path, data)
    return _Table(path, names_from, dims).read()


def point_of_json(value: Any, where: str) -> np.ndarray:
    """Return the (D,) voxels of a point in nnLandmark's files: a list, also under ``coordinates``, or null.

    Raises:
        ValueError: It is none.
    """
    given = value.get("coordinates") if isinstance(value, dict) else value
    if given is None:
        return np.full(3, math.nan)
    if not isinstance(given, list) or len(given) not in (2, 3) or not all(map(is_number, given)):
        raise ValueError(f"{where}: expected a list of 2 or 3 numbers, got {value!r:.80}")
    return np.array([number_of(number, where, "a coordinate") for number in given])


def _by_name(path: Path, data: dict[str, Any]) -> PointList:
    entries = {name: value for name, value in data.items() if name not in _NOT_LANDMARKS}
    points = [point_of_json(value, f"{path}, {name!r}") for name, value in entries.items()]
    if not points or len({len(point) for point in points}) > 1:
        raise ValueError(f"{path}: expected an object of points by name, all of 2 or of 3 coordinates")
    names = checked_names(entries, str(path))
    return PointList(names, np.stack(points), _seen(points), "pixels")


def _seen(points: Sequence[np.ndarray]) -> list[int]:
    return [int(np.isfinite(point).all()) for point in points]


class _Table:
    """A table of one point a line."""

    def __init__(self, path: Path, names_from: NameSource, dims: int) -> None:
        self.path, self.names_from, self.dims = path, names_from, dims
        self.coordinates: Coordinates | None = None
        self.name: int | None = None  # the places of columns
        self.defined: int | None = None
        self.axes: list[int] = []
        self.rows: list[tuple[int, list[str]]] = []
        for number, line in enumerate(legacy_text(path).splitlines(), 1):
            stated = _SYSTEM.match(line.strip())
            if stated:
                self.coordinates = self._system(stated[1], f"{path}, line {number}")
            elif line.strip() and not line.strip().startswith("#"):
                self.rows.append((number, _cells(line, f"{self.path}, line {number}")))
        if not self.rows:
            raise ValueError(f"{path}: there is no point in it")

    def read(self) -> PointList:
        first = self.rows[0][1]
        # A line of data has numbers or gaps after its first cell; a header has names.
        headed = any(not is_text_number(cell) for cell in first[1:])
        if headed:
            number, header = self.rows.pop(0)
            self._read_header(header, f"{self.path}, line {number}")
        else:
            count = len(first)
            if count not in (self.dims, self.dims + 1):
                raise ValueError(
                    f"{self.path}, line {self.rows[0][0]}: {count} cells, expected {self.dims} coordinates, "
                    "with or without a name before them"
                )
            self.name = 0 if count > self.dims else None
            self.axes = list(range(count - self.dims, count))
            self.width = count
        if not self.rows:
            raise ValueError(f"{self.path}: there is no point in it, only a header")
        points = [self._point(number, cells) for number, cells in self.rows]
        if self.name is None:
            names = [str(n) for n in range(1, len(points) + 1)]
        else:
            names = checked_names([cells[self.name] for _, cells in self.rows], str(self.path))
        return PointList(names, np.stack(points), _seen(points), self.coordinates, self.name is not None)

    def _read_header(self, header: list[str], where: str) -> None:
        known = {plain(_UNIT.sub("", cell)): i for i, cell in enumerate(header)}
        letters = next((word for word in _AXES if all(c in known for c in word[: self.dims])), None)
        if letters is None:
            raise ValueError(
                f"{where}: no columns of coordinates (x, y, z; l, p, s; r, a, s; or i, j, k) in {header}"
            )
        self.axes = [known[letter] for letter in letters[: self.dims]]
        units = {unit[1] for i in self.axes if (unit := _UNIT.search(header[i]))}
        if len(units) > 1 or not units <= {"mm", "px"}:
            raise ValueError(f"{where}: the unit of coordinates is [mm] or [px], got {sorted(units)}")
        self.coordinates = self._said(letters, units, where)
        wanted = _LABELS if self.names_from == "label" else _DESCRIPTIONS
        self.name = next((known[word] for word in wanted if word in known), None)
        self.defined = known.get("defined")  # 0 in Slicer's tables for a point that is not placed
        self.width = len(header)

    def _said(self, letters: str, units: set[str], where: str) -> Coordinates | None:
        """Return what the numbers are, by the letters and units of columns and the line of the system."""
        stated, by_letters = self.coordinates, _AXES[letters]
        said = by_letters or stated or ("pixels" if "px" in units else "LPS" if "mm" in units else None)
        wrong_unit = ("px" in units and said != "pixels") or ("mm" in units and said == "pixels")
        if wrong_unit or stated not in (None, said):
            raise ValueError(
                f"{where}: what the numbers are is said twice, and differently: columns {letters}, "
                f"{' '.join(units) or 'no unit'}, system {stated}"
            )
        return said

    def _point(self, number: int, cells: list[str]) -> np.ndarray:
        where = f"{self.path}, line {number}"
        if len(cells) != self.width:
            raise ValueError(f"{where}: {len(cells)} cells, but the first line has {self.width}")
        if self.defined is not None and cells[self.defined] == "0":
            return np.full(self.dims, math.nan)
        point = np.array([text_number(cells[axis], where) for axis in self.axes])
        if np.isnan(point).any() and not np.isnan(point).all():
            raise ValueError(f"{where}: only some coordinates are given: {cells}")
        return point

    @staticmethod
    def _system(text: str, where: str) -> Coordinates:
        if text.lower() not in _SYSTEMS:
            raise ValueError(f"{where}: the coordinate system {text!r} is not one of LPS, RAS or voxels")
        return _SYSTEMS[text.lower()]


def _cells(line: str, where: str) -> list[str]:
    """Return the cells of a line; blanks separate them where no comma, semicolon or tab does."""
    separator = next((mark for mark in "\t;," if mark in line), None)
    if separator is None:
        return line.split()
    return cells_of(line, separator, where)
