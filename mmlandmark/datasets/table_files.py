"""Tables of landmarks, CSV and its kin, as scripts and spreadsheets write them; see docs/datasets.md."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmlandmark.datasets.image_files import image_stem, image_suffix
from mmlandmark.datasets.landmark_order import landmark_order
from mmlandmark.datasets.values import (
    MISSING,
    has_decimal_comma,
    is_text_number,
    label_of,
    refuse_reserved,
    sample_id_of,
    size_of,
    text_number,
)
from mmlandmark.utils.files import read_text
from mmlandmark.utils.near_names import did_you_mean, plain, refuse_misspelt

_AXES = "xyz"
_IMAGE_COLUMNS = ("image", "img_path", "file", "filename", "file_name", "path")
_ID_COLUMNS = ("id", "sample_id", "image_id", "name")
_PLAIN_COLUMNS = ("group", "split", "fold")
_SIZE_COLUMNS = ("width", "height")
_SPACING_COLUMNS = ("spacing", *(f"spacing_{axis}" for axis in _AXES))
_JSON_ONLY = ("landmarks", "by_annotator", "visibility", "weights")
_KNOWN_COLUMNS = (
    *_IMAGE_COLUMNS,
    *_ID_COLUMNS,
    *_PLAIN_COLUMNS,
    *_SIZE_COLUMNS,
    *_SPACING_COLUMNS,
    *_JSON_ONLY,
)
_Rows = list[tuple[int, list[str]]]


def read_rows(path: str | Path) -> _Rows:
    """Return the non-empty rows of a table with their line numbers.

    ``,``, ``;`` or tab is found out from the first line, or said by a line ``sep=;`` in front of it. The text
    may be UTF-8, UTF-16 or Windows-1252.

    Raises:
        ValueError: The file is no text, or its quotes do not close; file and line are named.
    """
    return _split(path)[0]


def legacy_text(path: str | Path) -> str:
    """Return the text of a file that may be of an old program; says so where it is no Unicode."""
    try:
        return read_text(path)
    except ValueError:
        text = read_text(path, legacy=True)
    print_log(f"{path}: not UTF-8, read as Windows-1252; look at names with accents", "current")
    return text


def _split(path: str | Path) -> tuple[_Rows, str]:
    """Return the rows of a table and what separates its cells."""
    text = legacy_text(path)
    first = text.lstrip("\n").split("\n", 1)[0]
    said = re.fullmatch(r'"?sep=(.?)"?[,;\t]*', first.strip(" "), re.IGNORECASE)
    if said and said[1] not in tuple(",;\t"):
        raise ValueError(f"{path}, line 1: {first!r:.80}: cells are separated by ',', ';' or tab")
    delimiter = said[1] if said else _delimiter(first)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; do all quotes close?") from error
    return rows[1:] if said else rows, delimiter


def _delimiter(line: str) -> str:
    """Return what separates the cells of a line; neither quoted text nor a decimal comma tells."""
    bare = re.sub(r'"[^"]*"', "", line)
    bare = re.sub(r"(?:(?<=[;\t])|^)\s*[+-]?\d+,\d+\s*(?=[;\t]|$)", "", bare)
    return max(",;\t", key=bare.count)


def read_csv(
    path: Path, dims: int = 2, names: Sequence[str] | None = None
) -> tuple[list[dict[str, Any]], list[str] | None]:
    """Read a table of landmarks, with or without a header.

    Args:
        path: The file.
        dims: Axes of a point where there is no header, 2 or 3.
        names: Landmark names of the wanted schema; named columns are brought into this order.

    Returns:
        Records with ``image`` as the file has it, and the names of the landmarks where nobody else says them.

    Raises:
        ValueError: The file is broken; file and line are named.
    """
    rows, delimiter = _split(path)
    if not rows:
        raise ValueError(f"{path}: the file is empty")
    comma = delimiter != ","
    # A row of data has numbers (or gaps) after its first cell; a header has names.
    if any(not is_text_number(cell) for cell in rows[0][1][1:]):
        return _Table(path, rows, names, comma).read()
    return _read_bare(path, rows, dims, comma), None


def _read_bare(path: Path, rows: _Rows, dims: int, comma: bool) -> list[dict[str, Any]]:
    """Return the records of a table without header."""
    line, first = rows[0]
    if plain(first[0]) in (*_IMAGE_COLUMNS, *_ID_COLUMNS):
        raise ValueError(
            f"{path}, line {line}: {first[0]!r} looks like a header, but the cells after it are numbers; "
            "call the columns like 'sella_x', 'sella_y' or 'x0', 'y0', or leave the header out"
        )
    rows = _without_empty_end(rows, dims)
    _check_decimal_marks(path, [(line, row[1:]) for line, row in rows])
    records = []
    for line, row in rows:
        where = f"{path}, line {line}"
        values = np.array([text_number(cell, where, comma) for cell in row[1:]])
        if len(values) % dims or len(values) == 0:
            raise ValueError(
                f"{where}: {len(values)} numbers after the first cell are not points of {dims} coordinates"
            )
        record = _named_record(row[0].strip(), row[0].strip(), where)
        records.append(dict(record, landmarks=values.reshape(-1, dims)))
    return records


def _without_empty_end(rows: _Rows, dims: int) -> _Rows:
    """Return rows of equal length without the empty cells at their end that are no whole point."""
    widths = {len(row) for _, row in rows}
    width = max(widths)
    spare = (width - 1) % dims
    if len(widths) > 1 or not spare or any(cell.strip() for _, row in rows for cell in row[width - spare :]):
        return rows
    return [(line, row[: width - spare]) for line, row in rows]


def _check_decimal_marks(path: Path, rows: _Rows) -> None:
    """Raise ValueError if some numbers of a table have commas and others points: one groups digits."""
    comma = next(((line, cell) for line, row in rows for cell in row if has_decimal_comma(cell)), None)
    point = next(
        ((line, cell) for line, row in rows for cell in row if "." in cell and is_text_number(cell)), None
    )
    if comma and point:
        raise ValueError(
            f"{path}, line {comma[0]}: {comma[1].strip()!r} has a comma, but {point[1].strip()!r} in line "
            f"{point[0]} has a point: write all numbers alike, without separators between thousands"
        )


class _Table:
    """A table with a header."""

    def __init__(self, path: Path, rows: _Rows, names: Sequence[str] | None, comma: bool) -> None:
        self.path, self.names, self.comma = path, names, comma
        self.where = f"{path}, line {rows[0][0]}"
        self.header = [cell.strip() for cell in rows[0][1]]
        while self.header and not self.header[-1]:
            self.header.pop()
        self.rows = rows[1:]
        doubles = sorted({h for h in self.header if h and self.header.count(h) > 1})
        if doubles:
            raise ValueError(f"{self.where}: columns named twice: {doubles}")
        self.points = {i: key for i, h in enumerate(self.header) if (key := _point_column(h)) is not None}
        if not self.points:
            raise ValueError(f"{self.where}: {self._no_points(rows[0][1])}")
        self.found = list(dict.fromkeys(name for name, _ in self.points.values()))
        self.dims = 1 + max(axis for _, axis in self.points.values())
        self.known = self._known_columns()
        self.image = next((self.known[c] for c in _IMAGE_COLUMNS if c in self.known), None)
        self.ident = next((self.known[c] for c in _ID_COLUMNS if c in self.known), None)
        self._check_columns()

    def read(self) -> tuple[list[dict[str, Any]], list[str] | None]:
        """Return the records, and the landmarks' names if only the header says them."""
        order, named = self._landmark_order()
        cells = [(line, self._cells(line, row)) for line, row in self.rows]
        _check_decimal_marks(self.path, [(line, [row[i] for i in self.points]) for line, row in cells])
        return [self._record(line, row, order) for line, row in cells], named

    def _no_points(self, first: list[str]) -> str:
        odd = next(cell for cell in first[1:] if not is_text_number(cell))
        numbers = sum(bool(cell.strip()) and is_text_number(cell) for cell in first[1:])
        if 2 * numbers >= len(first) - 1:
            return f"{odd!r:.80} is not a number, and the line is no header either"
        return "no columns of coordinates; call them like 'sella_x', 'sella_y' or 'x0', 'y0'"

    def _known_columns(self) -> dict[str, int]:
        """Return where the columns with a meaning of their own stand."""
        known: dict[str, int] = {}
        for i, name in enumerate(self.header):
            if i in self.points:
                continue
            other = known.setdefault(plain(name), i)
            if other != i and plain(name) in _KNOWN_COLUMNS:
                raise ValueError(f"{self.where}: columns named twice: {[self.header[other], self.header[i]]}")
        return known

    def _check_columns(self) -> None:
        """Raise ValueError for columns that are missing, misspelt or of no use in a table."""
        lost = [
            f"{n}_{_AXES[a]}"
            for n in self.found
            for a in range(self.dims)
            if (n, a) not in self.points.values()
        ]
        if lost:
            others = [f"{self.header[i]!r}" for i in self.known.values()][:8]
            raise ValueError(
                f"{self.where}: columns missing for {lost[:5]}; taken for no coordinates: "
                f"{', '.join(others) or 'none'}"
            )
        if self.image is None and self.ident is None:
            near = did_you_mean(self.header, [*_IMAGE_COLUMNS, *_ID_COLUMNS])
            raise ValueError(
                f"{self.where}: needs a column 'image' or 'id'; columns are {self.header[:8]}{near}"
            )
        json_only = [name for name in _JSON_ONLY if name in self.known]
        if json_only:
            raise ValueError(f"{self.where}: a table cannot hold {json_only}; write a JSON file")
        others = [self.header[i] for name, i in self.known.items() if name and name not in _KNOWN_COLUMNS]
        refuse_misspelt(others, _KNOWN_COLUMNS, self.where, "column")
        points = [f"{name}_{_AXES[a]}" for name in (self.names or self.found) for a in range(self.dims)]
        refuse_misspelt(others, points, self.where, "column")
        refuse_misspelt(self.found, ["spacing"], self.where, "landmark")
        refuse_reserved((self.header[i] for i in range(len(self.header)) if self._is_own(i)), self.where)

    def _is_own(self, column: int) -> bool:
        """Whether a column has no meaning but is kept."""
        named = plain(self.header[column]) in (*_PLAIN_COLUMNS, *_SIZE_COLUMNS, *_SPACING_COLUMNS)
        return column not in {*self.points, self.image, self.ident} and not named

    def _landmark_order(self) -> tuple[list[str | None], list[str] | None]:
        """Return the landmark of the header for every row of a record, and names if it makes them."""
        numbered = all(name.isdigit() for name in self.found)
        if numbered and not set(self.found) <= set(self.names or ()):
            return sorted(self.found, key=int), None
        if self.names is None:
            return list(self.found), list(self.found)
        order = landmark_order(self.found, self.names, self.where)
        return [self.found[i] if i >= 0 else None for i in order], None

    def _cells(self, line: int, row: list[str]) -> list[str]:
        cells = [cell.strip() for cell in row]
        while len(cells) > len(self.header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(self.header):
            raise ValueError(
                f"{self.path}, line {line}: {len(cells)} cells, but the header has {len(self.header)}"
            )
        return cells

    def _record(self, line: int, cells: list[str], order: list[str | None]) -> dict[str, Any]:
        where = f"{self.path}, line {line}"
        columns = {key: i for i, key in self.points.items()}
        record = _named_record(
            cells[self.ident] if self.ident is not None else None,
            cells[self.image] if self.image is not None else cells[self.ident],
            where,
        )
        record["landmarks"] = np.array(
            [
                [
                    np.nan if name is None else text_number(cells[columns[name, a]], where, self.comma)
                    for a in range(self.dims)
                ]
                for name in order
            ]
        )
        record.update(self._extras(cells, where))
        return record

    def _extras(self, cells: list[str], where: str) -> dict[str, Any]:
        """Return spacing, size, group, split, fold and any further columns."""
        used = {*self.points, self.image, self.ident}
        rest = {i: cell for i, cell in enumerate(cells) if i not in used and cell.lower() not in MISSING}
        sized = all(name in self.known for name in _SIZE_COLUMNS)  # a height alone is somebody's own
        meant = (*_PLAIN_COLUMNS, *_SPACING_COLUMNS, *(_SIZE_COLUMNS if sized else ()))
        given = {name: rest.pop(self.known[name]) for name in meant if self.known.get(name) in rest}

        def number(name: str) -> float:
            return text_number(given[name], where, self.comma)

        found: dict[str, Any] = {}
        axes = [f"spacing_{a}" for a in _AXES[: self.dims]]
        if "spacing" in given:
            found["spacing"] = number("spacing")
        elif any(axis in given for axis in axes):
            if not all(axis in given for axis in axes):
                raise ValueError(f"{where}: spacing needs all of {axes}")
            found["spacing"] = [number(axis) for axis in axes]
        if sized and any(name in given for name in _SIZE_COLUMNS):
            width, height = (number(name) if name in given else None for name in _SIZE_COLUMNS)
            found["ori_shape"] = size_of(width, height, where)
        found.update({key: label_of(given[key], where, key) for key in _PLAIN_COLUMNS if key in given})
        for i, cell in rest.items():
            if not self.header[i] and i:
                raise ValueError(f"{self.where}: column {i + 1} has no name")
            if self.header[i]:  # a first column without a name is the index of a data frame
                found[self.header[i]] = text_number(cell, where, self.comma) if is_text_number(cell) else cell
        return found


def _named_record(ident: str | None, image: str | None, where: str) -> dict[str, Any]:
    if not (ident or image):
        raise ValueError(f"{where}: neither id nor image is given")
    name = ident if ident and ident != image else stem_of(image or "")
    return dict(sample_id=sample_id_of(name, where), image=image or None, source=where)


def stem_of(image: str) -> str:
    """Return the file name of an image without folders, of any system, and suffix; ``.nii.gz`` is one."""
    name = image.replace("\\", "/")
    return image_stem(name) if image_suffix(name) else Path(name).stem


def _point_column(name: str) -> tuple[str, int] | None:
    """Return (landmark, axis) of a column called like ``sella_x``, ``x12`` or ``p12x``."""
    match = re.fullmatch(r"(.+?)[_ .-]+([xyz])", name, re.IGNORECASE)
    if match and plain(match[1]) != "spacing":
        return match[1], _AXES.index(match[2].lower())
    match = re.fullmatch(r"([xyz])_?(\d+)", name, re.IGNORECASE | re.ASCII)
    if match:
        return str(int(match[2])), _AXES.index(match[1].lower())
    match = re.fullmatch(r"p(\d+)([xyz])", name, re.IGNORECASE | re.ASCII)
    return (str(int(match[1])), _AXES.index(match[2].lower())) if match else None
