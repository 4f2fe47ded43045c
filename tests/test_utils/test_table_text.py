"""Names in tables stay names."""

from __future__ import annotations

import csv
import io

import pytest

from mmlandmark.utils.table_text import (
    cells_of,
    csv_text,
    markdown_code,
    markdown_table,
    markdown_text,
    plain_cell,
    replaced,
    rewrite,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("subspinale (A)", "subspinale (A)"),
        ("hand_0", "hand_0"),
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("one\ntwo\r\n| three", r"one two \| three"),
        ("N`", r"N\`"),
        ("[click](http://x)", r"\[click\](http://x)"),
    ],
)
def test_markdown(text, shown):
    assert markdown_text(text) == shown
    assert "\n" not in markdown_text(text)


def test_markdown_table():
    head, rows = ["name", "kind", "mm"], [["sella", "bone", "1.25"], ["A", "soft tissue", "10"]]
    assert markdown_table(head, rows, left=2).splitlines() == [
        "| name | kind | mm |",
        "| --- | --- | ---: |",
        "| sella | bone | 1.25 |",
        "| A | soft tissue | 10 |",
    ]
    assert markdown_table(head, rows, padded=True).splitlines() == [
        "| name  |        kind |   mm |",
        "| ----- | ----------: | ---: |",
        "| sella |        bone | 1.25 |",
        "| A     | soft tissue |   10 |",
    ]
    with pytest.raises(ValueError, match=r"3 columns has a row of 2 cells: \['sella', 'bone'\]"):
        markdown_table(head, [["sella", "bone"]])


@pytest.mark.parametrize(("text", "shown"), [("a|b", "`a|b`"), ("a`b", "`` a`b ``"), ("a\nb", "`a b`")])
def test_markdown_code(text, shown):
    assert markdown_code(text) == shown


@pytest.mark.parametrize(
    "text", ['=HYPERLINK("http://x","y")', "+1", "-2+3", "@SUM(A1)", "\t=1", "  =1", "'=1"]
)
def test_a_formula_becomes_text(text):
    assert csv_text(text) == f"'{text}"
    assert plain_cell(csv_text(text)) == text


@pytest.mark.parametrize("text", ["sella", "a-b", "x=y", "", "1.5", "'", "'quoted'"])
def test_other_text_stays(text):
    assert plain_cell(text) == text
    stream = io.StringIO()
    csv.writer(stream).writerow([csv_text(text), 0])
    assert next(csv.reader([stream.getvalue()])) == [text, "0"]


def test_the_cells_of_a_line():
    assert cells_of(' a ;"b;c"; ', ";", "a.csv, line 3") == ["a", "b;c", ""]
    with pytest.raises(ValueError, match=r"a\.csv, line 3: not a line of a table: field larger than"):
        cells_of("x" * 200_000, ",", "a.csv, line 3")


def test_a_page_is_rewritten_or_named_and_left_alone(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x:begin -->\nold\n<!-- x:end -->\n")
    rewrite(page, "x", "new")
    text = page.read_text()
    assert text == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\n"
    assert "page.md" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"page\.md: there is no <!-- y:begin -->"):
        rewrite(page, "y", "newer")
    assert page.read_text() == text


def test_what_stands_between_the_marks_of_a_page_is_replaced():
    page = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n"
    assert replaced(page, "x", "new") == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb\n"
    with pytest.raises(ValueError, match="there is no <!-- y:begin -->"):
        replaced(page, "y", "new")
    with pytest.raises(ValueError, match="there is a <!-- x:begin --> without its <!-- x:end -->"):
        replaced("<!-- x:begin -->", "x", "new")
