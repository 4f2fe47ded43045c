"""Rows of tables: separators, encodings, quotes, decimal marks."""

from __future__ import annotations

import pytest

from mmlandmark.datasets import table_rows
from mmlandmark.datasets.table_rows import has_decimal_commas, legacy_text, read_rows, split_rows

ROWS = [(1, ["a", "b c", "1,5"]), (2, ["", "", "x"])]


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separator_and_encoding_are_recognised(tmp_path, separator, encoding):
    text = "a;b c;1,5\n;;x\n;;\n".replace(";", separator)
    assert split_rows(table(tmp_path, text, encoding)) == (ROWS, separator)


def test_a_line_may_name_the_separator(tmp_path):
    assert read_rows(table(tmp_path, "sep=;\na,b;c\n")) == [(2, ["a,b", "c"])]
    with pytest.raises(ValueError, match=r"a\.csv, line 1: 'sep=\|': cells are separated by"):
        read_rows(table(tmp_path, "sep=|\na|b\n"))


def test_quotes_that_do_not_close_name_the_line(tmp_path):
    assert read_rows(table(tmp_path, 'a,"b\nc"\nd,e\n')) == [(2, ["a", "b\nc"]), (3, ["d", "e"])]
    with pytest.raises(ValueError, match=r"a\.csv, line 2: .*do all quotes close"):
        read_rows(table(tmp_path, 'a,b\nc,"d\n'))


def test_text_of_windows_is_read_with_a_word(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(table_rows, "print_log", lambda text, *_: said.append(text))
    assert legacy_text(table(tmp_path, "träger", "utf-8")) == "träger"
    assert said == []
    assert legacy_text(table(tmp_path, "träger", "cp1252")) == "träger"
    assert "a.csv: not UTF-8, read as Windows-1252" in said[0]


def test_commas_and_points_in_one_table_are_refused(tmp_path):
    assert not has_decimal_commas(tmp_path, [(1, ["1.5", "x,y"]), (2, ["2"])])
    with pytest.raises(ValueError, match=r"line 3: '1,5' has a comma, but '2.5' in line 2 has a point"):
        has_decimal_commas(tmp_path, [(2, ["2.5"]), (3, ["1,5"])])


@pytest.mark.parametrize("other", ["12,5", "0,123", "1234,567", "1024", "-2000", "1,2345", "+01,234"])
def test_another_number_tells_what_a_comma_is(tmp_path, other):
    assert has_decimal_commas(tmp_path, [(2, ["1,234", "7", ""]), (3, ["-981,500", other])])


@pytest.mark.parametrize("other", ["12", "999", "-1,234", "", "nan"])
def test_a_comma_that_may_group_digits_is_refused(tmp_path, other):
    with pytest.raises(ValueError, match=r"line 2: '1,234' may be 1234 or 1\.234, and no other number"):
        has_decimal_commas(tmp_path, [(2, ["1,234", "7"]), (3, ["981", other])])
