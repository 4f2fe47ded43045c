"""Text of unknown origin in tables: a name must not become markup, a link or a formula."""

from __future__ import annotations

import re

_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown_text(text: object) -> str:
    """Return text for one cell or line of Markdown: no column, tag, link, code or line comes of it."""
    plain = re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(text))
    plain = re.sub("[&<>]", lambda match: _MARKDOWN[match[0]], plain)
    return re.sub(r"([\\|`\[\]])", r"\\\1", plain)


def markdown_code(text: object) -> str:
    """Return text as code in a line of Markdown: shown as it is, whatever it holds."""
    plain = re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(text))
    longest = max(map(len, re.findall("`+", plain)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{plain}{space}{fence}"


def csv_text(text: object) -> str:
    """Return text for a cell of a CSV file that a spreadsheet shows and does not calculate.

    What a spreadsheet would take for a formula gets an apostrophe in front. Numbers are no text: write them
    as they are.
    """
    plain = str(text)
    return f"'{plain}" if plain.lstrip(" ")[:1] in tuple("=+-@\t\r\n") else plain
