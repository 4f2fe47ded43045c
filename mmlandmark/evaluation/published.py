"""What a publication says: numbers beside ours, and its tables as it prints them, from ``paper.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import read_json
from mmlandmark.utils.table_text import markdown_table, markdown_text

_ABOUT = ("publication", "tables")  # keys of paper.json that name no config and no sweep


@dataclass(frozen=True)
class Slip:
    """Cells that other words or numbers of a publication contradict.

    Attributes:
        row: Name of their row.
        columns: Their columns.
        note: What speaks against them, or what they should be.
    """

    row: str
    columns: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class PublishedTable:
    """A table of a publication, every cell as it is printed there.

    Attributes:
        name: As ``"Table 2"``.
        caption: Its caption.
        columns: Headings; where a heading spans several columns, each of them begins with it.
        rows: Name of a row -> all its cells, labels included. A row is named by its labels, joined by " / ";
            a label that spans several rows stands in each.
        slips: Cells not to be believed.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    slips: tuple[Slip, ...] = ()

    def cell(self, row: str, column: str) -> str:
        """Return a cell as it is printed.

        Raises:
            KeyError: There is no such row or column.
        """
        if row not in self.rows or column not in self.columns:
            known = list(self.rows) if row not in self.rows else list(self.columns)
            raise KeyError(f"{self.name} has no cell {row!r}, {column!r}; it has {known}")
        return self.rows[row][self.columns.index(column)]

    def markdown(self) -> str:
        """Return the table with its caption, slips numbered and explained below it."""
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
    """Return what a ``paper.json`` says.

    Returns:
        Name of a config -> metric -> number (for a sweep, name of the sweep -> arm -> metric -> number), and
        the publication's tables by name. Both are empty where the file does not exist.

    Raises:
        ValueError: A table lacks a key, a row is not as long as the columns, two rows or columns share a
            name, or a slip is of no cell.
    """
    if not Path(path).is_file():
        return {}, {}
    content = read_json(path)
    tables = {
        name: _table(name, table, f"{path}: {name}") for name, table in content.get("tables", {}).items()
    }
    return {name: numbers for name, numbers in content.items() if name not in _ABOUT}, tables


def published_page(path: str | Path) -> str:
    """Return a page of all tables of a ``paper.json``.

    Raises:
        ValueError: See :func:`read_published`; or the file does not name the publication.
    """
    _, tables = read_published(path)
    publication = read_json(path).get("publication")
    if not publication:
        raise ValueError(f"{path}: 'publication' must say whose tables these are")
    head = [
        "# Tables of the publication",
        str(publication),
        "Every cell as it is printed; a heading that spans several columns or rows stands in each. Small "
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
                f"{where}: two rows are named {label!r}; say with 'labels' how many cells name one"
            )
        rows[label] = tuple(cells)
    slips = tuple(Slip(s["row"], tuple(s["columns"]), s["note"]) for s in table.get("slips", ()))
    for slip in slips:
        lost = [column for column in slip.columns if column not in columns]
        if slip.row not in rows or lost:
            raise ValueError(
                f"{where}: a slip is of row {slip.row!r} and columns {lost}, which it does not have"
            )
    return PublishedTable(name, table["caption"], columns, rows, slips)
