"""The rows of a CSV table, as scripts and spreadsheets write them; see docs/datasets.md."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from mmengine.logging import print_log

from mmlandmark.datasets.values import is_text_number
from mmlandmark.utils.files import read_text
from mmlandmark.utils.table_text import plain_cell

_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_LONG = re.compile(r"[+-]?\d{4}", re.ASCII)

Rows = list[tuple[int, list[str]]]  # each with its line number


def read_rows(path: str | Path) -> Rows:
    """Return the non-empty rows of a table with their line numbers.

    The separator ``,``, ``;`` or tab is inferred from the first line, or given by a line ``sep=;`` before
    it. The text may be UTF-8, UTF-16 or Windows-1252. An apostrophe that keeps a spreadsheet from taking
    text for a formula is not part of the text.

    Raises:
        ValueError: The file is not text, or a quote does not close; the message names file and line.
    """
    return split_rows(path)[0]


def legacy_text(path: str | Path) -> str:
    """Return the text of a file in Unicode or, as old programs write it, in Windows-1252, which is logged."""
    try:
        return read_text(path)
    except ValueError:
        text = read_text(path, legacy=True)
    print_log(f"{path}: not UTF-8, read as Windows-1252; check names with accents", "current")
    return text


def split_rows(path: str | Path) -> tuple[Rows, str]:
    """Return the rows of a table and what separates its cells."""
    text = legacy_text(path)
    first = text.lstrip("\n").split("\n", 1)[0]
    stated = re.fullmatch(r'"?sep=(.?)"?[,;\t]*', first.strip(" "), re.IGNORECASE)
    if stated and stated[1] not in tuple(",;\t"):
        raise ValueError(f"{path}, line 1: {first!r:.80}: cells are separated by ',', ';' or tab")
    delimiter = stated[1] if stated else _delimiter(first)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        rows = [
            (reader.line_num, [plain_cell(cell) for cell in row])
            for row in reader
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; do all quotes close?") from error
    return rows[1:] if stated else rows, delimiter


def _delimiter(line: str) -> str:
    """Return the separator of a line; quoted text and decimal commas do not count."""
    bare = re.sub(r'"[^"]*"', "", line)
    bare = re.sub(r"(?:(?<=[;\t])|^)\s*[+-]?\d+,\d+\s*(?=[;\t]|$)", "", bare)
    return max(",;\t", key=bare.count)


def has_decimal_commas(path: Path, rows: Rows) -> bool:
    """Return whether numbers of a table have commas as decimal marks.

    Args:
        path: The file, for messages.
        rows: The cells of its columns of numbers.

    Raises:
        ValueError: Some numbers have commas and others points, so that one of them groups digits; or all
            commas may group digits, as in ``1,234``.
    """
    cells = [(line, cell.strip()) for line, row in rows for cell in row if is_text_number(cell)]
    commas = [(line, cell) for line, cell in cells if "," in cell]
    if not commas:
        return False
    line, comma = commas[0]
    point = next(((line, cell) for line, cell in cells if "." in cell), None)
    if point:
        raise ValueError(
            f"{path}, line {line}: {comma!r} has a comma, but {point[1]!r} in line {point[0]} has a point: "
            "write all numbers alike, without separators between thousands"
        )
    # A number of four digits without a comma, or another number of digits around one, shows what it is.
    if all(_GROUPED.fullmatch(cell) for _, cell in commas) and not any(
        _LONG.match(cell) for _, cell in cells
    ):
        whole, decimal = (comma.replace(",", mark) for mark in ("", "."))
        raise ValueError(
            f"{path}, line {line}: {comma!r} may be {whole} or {decimal}, and no other number of the table "
            "tells which: write decimals with a point, and thousands without a separator"
        )
    return True
