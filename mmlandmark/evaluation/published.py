"""Numbers and tables of a publication, from ``paper.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import read_json
from mmlandmark.utils.table_text import markdown_table, markdown_text

_ABOUT = ("publication", "tables")  # all other keys of paper.json are configs and sweeps


@dataclass(frozen=True)
class Slip:
    """Cells that the publication contradicts elsewhere.

    Attributes:
        row: Name of their row.
        columns: Their columns.
        note: The contradiction, or the likely value.
    """

    row: str
    columns: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class PublishedTable:
    """A table of a publication, with every cell as printed.

    Attributes:
        name: For instance ``"Table 2"``.
        caption: The printed caption.
        columns: Headings; a heading that spans several columns is repeated at the beginning of each.
        rows: Name of a row -> all its cells, labels included. The name is the labels joined by " / "; a label
            that spans several rows is repeated in each.
        slips: Cells that are probably wrong.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    slips: tuple[Slip, ...] = ()

    def cell(self, row: str, column: str) -> str:
        """Return a cell as printed.

        Raises:
            KeyError: The row or column does not exist.
        """
        if row not in self.rows or column not in self.columns:
            known = list(self.rows) if row not in self.rows else list(self.columns)
            raise KeyError(f"{self.name} has no cell {row!r}, {column!r}; it has {known}")
        return self.rows[row][self.columns.index(column)]

    def markdown(self) -> str:
        """Return the table with its caption; slips are numbered and explained below it."""
        notes: dict[tuple[str, str], list[int]] = {}
        for number, slip in enumerate(self.slips, 1):
            for column in slip.columns:
                notes.setdefault((slip.row, column), []).append(number)
        rows = [
            [
                markdown_text(cell)
                + "".join(f"<sup>{number}</sup>" for number in notes.get((name, column), ()))
                for column, cell in zip(self.columns, cells, strict=True)
            ]
            for name, cells in self.rows.items()
        ]
        table = markdown_table([markdown_text(column) for column in self.columns], rows)
        below = [f"{number}. {slip.row}: {slip.note}" for number, slip in enumerate(self.slips, 1)]
        return "\n".join([f"**{self.name}.** {self.caption}", "", table, *([""] if below else []), *below])


def read_published(path: str | Path) -> tuple[dict[str, Any], dict[str, PublishedTable]]:
    """Read a ``paper.json``.

    Returns:
        Name of a config -> metric -> number (for a sweep, name of the sweep -> arm -> metric -> number), and
        the publication's tables by name. Both are empty if the file does not exist.

    Raises:
        ValueError: A table lacks a key, a row has too few or too many cells, two rows or columns share a
            name, or a slip names no cell.
    """
    if not Path(path).is_file():
        return {}, {}
    content = read_json(path)
    tables = {
        name: _table(name, table, f"{path}: {name}") for name, table in content.get("tables", {}).items()
    }
    return {name: numbers for name, numbers in content.items() if name not in _ABOUT}, tables


def published_page(path: str | Path) -> str:
    """Return a Markdown page with all tables of a ``paper.json``.

    Raises:
        ValueError: See :func:`read_published`; or the file does not name the publication.
    """
    _, tables = read_published(path)
    publication = read_json(path).get("publication")
    if not publication:
        raise ValueError(f"{path}: 'publication' must name the source of these tables")
    head = [
        "# Tables of the publication",
        str(publication),
        "All cells are as printed; headings that span several columns or rows are repeated in each. Small "
        "numbers mark cells that the publication itself, or a count of the network, contradicts. Written by "
        "`mmlandmark collect` from `paper.json`.",
    ]
    return "\n\n".join([*head, *(table.markdown() for table in tables.values())]) + "\n"


def _table(name: str, table: dict[str, Any], where: str) -> PublishedTable:
    missing = [key for key in ("caption", "columns", "rows") if not table.get(key)]
    unknown = sorted(set(table) - {"caption", "columns", "rows", "labels", "slips"})
    if missing or unknown:
        raise ValueError(f"{where} lacks {missing} and has unknown keys {unknown}")
    columns, rows = tuple(table["columns"]), {}
    if len(set(columns)) != len(columns):
        raise ValueError(f"{where}: two columns share a name")
    for cells in table["rows"]:
        label = " / ".join(cells[: table.get("labels", 1)])
        if len(cells) != len(columns):
            raise ValueError(f"{where}: row {label!r} has {len(cells)} cells, expected {len(columns)}")
        if label in rows:
            raise ValueError(
                f"{where}: two rows are named {label!r}; set 'labels' to the number of cells that name a row"
            )
        rows[label] = tuple(cells)
    slips = tuple(Slip(s["row"], tuple(s["columns"]), s["note"]) for s in table.get("slips", ()))
    for slip in slips:
        lost = [column for column in slip.columns if column not in columns]
        if slip.row not in rows or lost:
            raise ValueError(f"{where}: a slip names row {slip.row!r} and columns {lost}, which do not exist")
    return PublishedTable(name, table["caption"], columns, rows, slips)
