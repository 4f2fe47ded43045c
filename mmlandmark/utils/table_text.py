"""Markdown tables, and cells with text of unknown origin: a name must not become markup or a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from mmlandmark.utils.files import atomic_write_text

_FORMULA = re.compile(r"'* *[=+\-@\t\r\n]")
_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, padded: bool = False
) -> str:
    """Return a Markdown table, without a line break at the end.

    Args:
        head: Titles of the columns.
        rows: Cells, as many in each row as titles. They are Markdown: see :func:`markdown_text`.
        left: How many of the first columns are aligned to the left; the others are aligned to the right.
        padded: Pad the cells, so that the columns also align as plain text.

    Raises:
        ValueError: A row has more or fewer cells than there are titles.

    Example:
        >>> print(markdown_table(["arm", "MRE"], [["plain", "1.25"]], padded=True))
        | arm   |  MRE |
        | ----- | ---: |
        | plain | 1.25 |
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a table of {len(head)} columns has a row of {len(row)} cells: {list(row)}")
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) if padded else 3 for i in range(len(head))]
    rule = ["-" * width + ("" if i < left else ":") for i, width in enumerate(widths)]
    if padded:
        rule = [mark[-width:] for mark, width in zip(rule, widths, strict=True)]
        lines = [
            [
                c.ljust(w) if i < left else c.rjust(w)
                for i, (c, w) in enumerate(zip(line, widths, strict=True))
            ]
            for line in lines
        ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def replaced(text: str, name: str, tables: str, end: str = "") -> str:
    """Return a page with other tables between the marks of a name, ``<!-- name:begin -->`` and ``end``.

    Args:
        text: The page.
        name: Of the marks.
        tables: What is to stand there.
        end: Name of the second mark, if it is another.

    Raises:
        ValueError: The page lacks a mark.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {end or name}:end -->"
    head, found, rest = text.partition(begin)
    if not found:
        raise ValueError(f"there is no {begin}")
    if end not in rest:
        raise ValueError(f"there is a {begin} without its {end}")
    return f"{head}{begin}\n{tables}\n{end}{rest.split(end, 1)[1]}"


def rewrite(page: Path, name: str, tables: str) -> None:
    """Write other tables between the marks of a name in a page, see :func:`replaced`; the file stays whole.

    Args:
        page: The file.
        name: Of the marks.
        tables: What is to stand there.

    Raises:
        ValueError: The page, which is named, lacks a mark.
    """
    try:
        text = replaced(page.read_text(encoding="utf-8"), name, tables)
    except ValueError as error:
        raise ValueError(f"{page}: {error}") from error
    atomic_write_text(page, text)
    print(f"wrote the table of {page}")


def markdown_text(text: object) -> str:
    """Return text escaped for one cell or line of Markdown: it adds no column, tag, link, code or line."""
    plain = re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(text))
    plain = re.sub("[&<>]", lambda match: _MARKDOWN[match[0]], plain)
    return re.sub(r"([\\|`\[\]])", r"\\\1", plain)


def markdown_code(text: object) -> str:
    """Return text as inline code in Markdown, which shows it as it is."""
    plain = re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(text))
    longest = max(map(len, re.findall("`+", plain)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{plain}{space}{fence}"


def csv_text(text: object) -> str:
    """Return text for a cell of a CSV file, which a spreadsheet must not evaluate as a formula.

    Text that looks like a formula, with or without apostrophes before it, gets a leading apostrophe, which
    :func:`plain_cell` takes away again. Write numbers as numbers, without this function.
    """
    plain = str(text)
    return f"'{plain}" if _FORMULA.match(plain) else plain


def cells_of(line: str, separator: str, where: str) -> list[str]:
    """Return the cells of one line of a table, without blanks around them.

    Args:
        line: The line.
        separator: What separates cells.
        where: File and line, for messages.

    Raises:
        ValueError: The line is no row of a table.
    """
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"{where}: not a line of a table: {error}") from error


def plain_cell(cell: str) -> str:
    """Return the text of a cell that :func:`csv_text` wrote."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
