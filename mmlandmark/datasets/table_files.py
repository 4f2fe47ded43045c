"""Tables of landmarks as CSV, as scripts and spreadsheets write them; see docs/datasets.md."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmlandmark.datasets.bare_table import dims_without_header, named_record, read_bare
from mmlandmark.datasets.image_files import ids_of_images, stem_of
from mmlandmark.datasets.landmark_order import landmark_order
from mmlandmark.datasets.patients import PATIENT_KEYS, is_patient
from mmlandmark.datasets.table_columns import (
    AXES,
    SIZES,
    SPACINGS,
    has_unit,
    is_predicted,
    plain_column,
    point_column,
    visible_landmark,
    world_column,
)
from mmlandmark.datasets.table_rows import Rows, has_decimal_commas, split_rows
from mmlandmark.datasets.values import (
    MISSING,
    is_text_number,
    label_of,
    refuse_reserved,
    size_of,
    text_number,
)
from mmlandmark.utils.near_names import did_you_mean, plain, refuse_misspelt

_IMAGE_COLUMNS = ("image", "img_path", "file", "filename", "file_name", "path")
_ID_COLUMNS = ("id", "sample_id", "image_id", "name")
_PLAIN_COLUMNS = ("group", "split", "fold")
_SIZE_COLUMNS = SIZES[:2]  # and "depth", where points have three coordinates
_JSON_ONLY = ("landmarks", "by_annotator", "visibility", "weights")
# What tables call sizes along x, y and z, in plain names, and what these are here.
_SURELY_SIZES = {
    **dict.fromkeys(("size", "image_size"), SIZES),
    **dict.fromkeys(
        (f"{what}_{size}" for what in ("pixel", "voxel") for size in ("size", "spacing")), SPACINGS[1:]
    ),
}
_KNOWN_COLUMNS = (
    *_IMAGE_COLUMNS,
    *_ID_COLUMNS,
    *_PLAIN_COLUMNS,
    *_SIZE_COLUMNS,
    *SPACINGS,
    *_JSON_ONLY,
)


def read_csv(
    path: Path,
    dims: int | None = None,
    names: Sequence[str] | None = None,
    image_dims: Callable[[str], int | None] | None = None,
) -> tuple[list[dict[str, Any]], list[str] | None]:
    """Read a table of landmarks, with or without a header.

    Args:
        path: The file.
        dims: Coordinates of a point, 2 or 3, where there is no header; None infers it, see
            :func:`~mmlandmark.datasets.bare_table.dims_without_header`.
        names: Landmark names of the requested schema; named columns are reordered to match.
        image_dims: Returns the dimensions of the image that a first cell names, None if there is none.

    Returns:
        Records with ``image`` as in the file, and the names of the landmarks if only the header has them.

    Raises:
        ValueError: The file is broken; the message names file and line.
    """
    rows, delimiter = split_rows(path)
    if not rows:
        raise ValueError(f"{path}: the file is empty")
    comma = delimiter != ","
    # A row of data has numbers (or gaps) after its first cell; a header has names.
    if any(not is_text_number(cell) for cell in rows[0][1][1:]):
        return _Table(path, rows, names, comma).read()
    _refuse_header(path, rows)
    count = None if names is None else len(names)
    dims = dims_without_header(path, rows, dims, count, image_dims)
    return read_bare(path, rows, dims, comma), None


def _refuse_header(path: Path, rows: Rows) -> None:
    """Raise ValueError if the first cell is the name of a column although the others are numbers."""
    line, first = rows[0]
    if plain(first[0]) in (*_IMAGE_COLUMNS, *_ID_COLUMNS):
        raise ValueError(
            f"{path}, line {line}: {first[0]!r} looks like a header, but the cells after it are numbers; "
            "call the columns like 'sella_x', 'sella_y' or 'x0', 'y0', or leave the header out"
        )


class _Table:
    """A table with a header."""

    def __init__(self, path: Path, rows: Rows, names: Sequence[str] | None, comma: bool) -> None:
        self.path, self.names, self.comma = path, names, comma
        self.where, self.commas, self.ids = f"{path}, line {rows[0][0]}", False, dict[str, str]()
        self.header = [cell.strip() for cell in rows[0][1]]
        while self.header and not self.header[-1]:
            self.header.pop()
        self.rows = rows[1:]
        doubles = sorted(name for name, count in Counter(self.header).items() if name and count > 1)
        if doubles:
            raise ValueError(f"{self.where}: columns named twice: {doubles}")
        self.points = {i: key for i, h in enumerate(self.header) if (key := point_column(h)) is not None}
        self.in_world = not self.points  # mm beside pixels are a reading aid of predictions
        if self.in_world:
            self.points = {i: key for i, h in enumerate(self.header) if (key := world_column(h)) is not None}
        if not self.points:
            raise ValueError(f"{self.where}: {self._no_points(rows[0][1])}")
        if not self.rows:
            raise ValueError(f"{path}: the table has no rows, only a header: {', '.join(self.header):.80}")
        self.landmarks = list(dict.fromkeys(name for name, _ in self.points.values()))
        self.visible = self._visible_columns()
        self.dims = max(2, 1 + max(axis for _, axis in self.points.values()))
        self.known = self._known_columns()
        self.image = next((self.known[c] for c in _IMAGE_COLUMNS if c in self.known), None)
        self.ident = next((self.known[c] for c in _ID_COLUMNS if c in self.known), None)
        self._check_columns()

    def read(self) -> tuple[list[dict[str, Any]], list[str] | None]:
        """Return the records, and the names of the landmarks if only the header has them."""
        order, named = self._landmark_order()
        cells = [(line, self._cells(line, row)) for line, row in self.rows]
        numbers = self._number_columns()
        self.commas = has_decimal_commas(
            self.path, [(line, [row[i] for i in numbers]) for line, row in cells]
        )
        self.ids = ids_of_images(
            image for ident, image in (self._names(row) for _, row in cells) if not ident
        )
        return [self._record(line, row, order) for line, row in cells], named

    def _number_columns(self) -> list[int]:
        """Return the columns that hold numbers only."""
        sizes = SIZES if all(name in self.known for name in _SIZE_COLUMNS) else ()
        named = [self.known[name] for name in (*SPACINGS, *sizes) if name in self.known]
        return [*self.points, *self.visible.values(), *named]

    def _no_points(self, first: list[str]) -> str:
        odd = next(cell for cell in first[1:] if not is_text_number(cell))
        numbers = sum(bool(cell.strip()) and is_text_number(cell) for cell in first[1:])
        if 2 * numbers >= len(first) - 1:
            return f"{odd!r:.80} is not a number, and the line is not a header either"
        return "no columns of coordinates; call them like 'sella_x', 'sella_y' or 'x0', 'y0'"

    def _visible_columns(self) -> dict[str, int]:
        """Return the columns of visibilities by landmark; their titles may have other separators or case."""
        loosely = {plain(f"{name} visibility"): name for name in self.landmarks}
        found: dict[str, int] = {}
        for i, title in enumerate(self.header):
            exact = visible_landmark(title)
            name = exact if exact in self.landmarks else loosely.get(plain(title))
            if name is not None and i not in self.points:
                self._refuse_double(found.setdefault(name, i), i)
        return found

    def _refuse_double(self, first: int, second: int) -> None:
        """Raise ValueError if two columns mean the same."""
        if first != second:
            doubles = [self.header[first], self.header[second]]
            raise ValueError(f"{self.where}: columns named twice: {doubles}")

    def _known_columns(self) -> dict[str, int]:
        """Return the index of every column with a fixed meaning, by its name."""
        known: dict[str, int] = {}
        for i, name in enumerate(self.header):
            if i in self.points or i in self.visible.values():
                continue
            other = known.setdefault(plain_column(name), i)
            if plain_column(name) in _KNOWN_COLUMNS:
                self._refuse_double(other, i)
        return known

    def _check_columns(self) -> None:
        """Raise ValueError for columns that are missing, misspelt or not possible in a table."""
        columns: dict[tuple[str, int], int] = {}
        for i, key in self.points.items():
            self._refuse_double(columns.setdefault(key, i), i)
        lost = [
            f"{n}_{AXES[a]}"
            for n in self.landmarks
            for a in range(self.dims)
            if (n, a) not in self.points.values()
        ]
        if lost:
            others = [f"{self.header[i]!r}" for i in self.known.values()][:8]
            raise ValueError(
                f"{self.where}: columns missing for {lost[:5]}; not taken as coordinates: "
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
        own = [self.header[i] for name, i in self.known.items() if name and name not in _KNOWN_COLUMNS]
        others = [name for name in own if not is_predicted(name) and not is_patient(name)]
        refuse_misspelt(others, [*_KNOWN_COLUMNS, *PATIENT_KEYS], self.where, "column")
        points = [f"{name}_{AXES[a]}" for name in (self.names or self.landmarks) for a in range(self.dims)]
        points += [f"{name} visibility" for name in (self.names or self.landmarks)]
        refuse_misspelt(others, points, self.where, "column")
        refuse_misspelt(self.landmarks, ["spacing"], self.where, "landmark")
        self._refuse_sizes()
        refuse_reserved((self.header[i] for i in range(len(self.header)) if self._is_own(i)), self.where)

    def _refuse_sizes(self) -> None:
        """Raise ValueError for what is called as a point is, but surely is the size of an image or pixel."""
        for i, (name, axis) in self.points.items():
            cure = _SURELY_SIZES.get(plain(name))
            if cure and name not in (self.names or ()) and not has_unit(self.header[i]):
                raise ValueError(
                    f"{self.where}: column {self.header[i]!r} would be a landmark {name!r}; call it "
                    f"{cure[axis]!r}, or {name}_{AXES[axis]} [px] if it is one"
                )

    def _is_own(self, column: int) -> bool:
        """Return whether a column has no fixed meaning and is kept as it is."""
        named = plain_column(self.header[column]) in (*_PLAIN_COLUMNS, *_SIZE_COLUMNS, *SPACINGS)
        return column not in {*self.points, *self.visible.values(), self.image, self.ident} and not named

    def _landmark_order(self) -> tuple[list[str | None], list[str] | None]:
        """Return the landmark for every row of a record, and names if only the header has them."""
        with_units = any(has_unit(self.header[i]) for i in self.points)
        numbered = all(name.isdigit() for name in self.landmarks) and not with_units
        if numbered and not set(self.landmarks) <= set(self.names or ()):
            return [*sorted(self.landmarks, key=int)], None
        if self.names is None:
            return list(self.landmarks), list(self.landmarks)
        order = landmark_order(self.landmarks, self.names, self.where)
        return [self.landmarks[i] if i >= 0 else None for i in order], None

    def _cells(self, line: int, row: list[str]) -> list[str]:
        cells = [cell.strip() for cell in row]
        while len(cells) > len(self.header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(self.header):
            raise ValueError(
                f"{self.path}, line {line}: {len(cells)} cells, but the header has {len(self.header)}"
            )
        return cells

    def _names(self, cells: list[str]) -> tuple[str, str]:
        """Return the id and the image of a row, empty where it has none."""
        ident = "" if self.ident is None else cells[self.ident]
        image = ident if self.image is None else cells[self.image]
        if self.image is None and ident and stem_of(ident) != PurePosixPath(ident).name:
            ident = ""  # it is the name of a file
        return ident, image

    def _record(self, line: int, cells: list[str], order: list[str | None]) -> dict[str, Any]:
        where = f"{self.path}, line {line}"
        columns = {key: i for i, key in self.points.items()}
        ident, image = self._names(cells)
        record = named_record(ident or self.ids.get(image), image, where)
        record["landmarks"] = np.array(
            [
                [
                    np.nan if name is None else text_number(cells[columns[name, a]], where, self.comma)
                    for a in range(self.dims)
                ]
                for name in order
            ]
        )
        if self.visible:
            given = [cells[self.visible[name]] if name in self.visible else "" for name in order]
            seen = [text_number(cell, where, self.comma) for cell in given]
            record["visibility"] = [1 if np.isnan(number) else number for number in seen]
        record.update(self._extras(cells, where))
        return dict(record, in_world="LPS") if self.in_world else record

    def _extras(self, cells: list[str], where: str) -> dict[str, Any]:
        """Return spacing, size, group, split, fold and any further columns."""
        used = {*self.points, *self.visible.values(), self.image, self.ident}
        rest = {i: cell for i, cell in enumerate(cells) if i not in used and cell.lower() not in MISSING}
        sized = all(name in self.known for name in _SIZE_COLUMNS)  # a height alone is the user's own column
        sizes = (*_SIZE_COLUMNS, "depth") if self.dims == 3 else _SIZE_COLUMNS
        meant = (*_PLAIN_COLUMNS, *SPACINGS, *(sizes if sized else ()))
        given = {name: rest.pop(self.known[name]) for name in meant if self.known.get(name) in rest}

        def number(name: str) -> float:
            return text_number(given[name], where, self.comma)

        extras = self._spacing({name: number(name) for name in SPACINGS if name in given}, where)
        if sized and any(name in given for name in _SIZE_COLUMNS):
            sides = [number(name) if name in given else None for name in (*_SIZE_COLUMNS, "depth")]
            extras["ori_shape"] = size_of(sides[0], sides[1], where, sides[2])
        extras.update({key: label_of(given[key], where, key) for key in _PLAIN_COLUMNS if key in given})
        for i, cell in rest.items():
            if not self.header[i] and i:
                raise ValueError(f"{self.where}: column {i + 1} has no name")
            if self.header[i]:  # a first column without a name is the index of a data frame
                extras[self.header[i]] = cell if self._is_text(i, cell) else text_number(cell, where, True)
        return extras

    def _spacing(self, given: dict[str, float], where: str) -> dict[str, Any]:
        """Return the spacing from the columns of a row that state it."""
        axes = [f"spacing_{a}" for a in AXES[: self.dims]]
        stated = {axis: given[axis] for axis in axes if axis in given}
        if "spacing" in given:
            if any(not math.isclose(given["spacing"], one, rel_tol=1e-6) for one in stated.values()):
                said = ", ".join(f"{name} {value:g}" for name, value in given.items())
                raise ValueError(f"{where}: the spacings differ: {said}; leave out what is wrong")
            return dict(spacing=given["spacing"])
        if stated and len(stated) < len(axes):
            raise ValueError(f"{where}: spacing needs all of {axes}")
        return dict(spacing=[*stated.values()]) if stated else {}

    def _is_text(self, column: int, cell: str) -> bool:
        """Return whether a cell of an own column is kept as it is: patient 007, teeth 3,4."""
        unsure = "," in cell and not self.commas
        return unsure or is_patient(self.header[column]) or not is_text_number(cell)
