"""What is a number, a point, a name, a size, and what only looks like one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmlandmark.datasets.values import (
    id_of_name,
    is_text_number,
    label_of,
    number_of,
    points_of_json,
    refuse_reserved,
    sample_id_of,
    size_of,
    text_number,
    written_number,
)


@pytest.mark.parametrize("value", [1, 1.5, np.float32(2), np.int64(3), float("nan")])
def test_numbers(value):
    np.testing.assert_equal(number_of(value, "here", "x"), float(value))


@pytest.mark.parametrize("value", [True, False, np.True_, "1", None, [1], {}, 10**400])
def test_what_is_no_number(value):
    with pytest.raises(ValueError, match="here: x"):
        number_of(value, "here", "x")


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1), (" -1.5 ", -1.5), ("+.5", 0.5), ("2.", 2), ("1e3", 1000), ("NaN", math.nan), ("", math.nan)],
)
def test_cells(cell, value):
    assert is_text_number(cell)
    np.testing.assert_equal(text_number(cell, "here"), value)


@pytest.mark.parametrize(
    "cell", ["1_0", "inf", "0x1", "1 2", "\u0663", "\uff11", "true", "1e999", "=1", "1,5", "--1", "1e"]
)
def test_cells_that_are_no_numbers(cell):
    with pytest.raises(ValueError, match="here: "):
        text_number(cell, "here")


def test_decimal_commas():
    assert text_number("-1,5", "here", decimal_comma=True) == -1.5
    with pytest.raises(ValueError, match="not a number"):
        text_number("1,234,567", "here", decimal_comma=True)
    assert written_number("0.125", "here") == written_number(0.125, "here")
    with pytest.raises(ValueError, match="not a finite number"):
        written_number("", "here")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2], 5], "landmark 1 is 5, expected a list"),
        ([1, 2], "landmark 0 is 1, expected a list"),
        ([[]], r"landmark 0 is \[\], expected a list"),
        ([[1]], r"landmark 0 is \[1\], expected a list of 2 or 3 numbers"),
        ([[1, 2, 3, 4]], r"landmark 0 is .* expected a list of 2 or 3 numbers"),
        ([[[1, 2], 3]], r"landmark 0, x, must be a number, got \[1, 2\]"),
        ([[True, 2]], "landmark 0, x, must be a number, got True"),
        ([[1, "2"]], "landmark 0, y, must be a number, got '2'; write it without quotes"),
        (["12"], "landmark 0 is '12', expected a list"),
        ([[1, 2], [1, 2, 3]], "landmark 1 is .* expected 2 numbers"),
        ([{"x": 1, "y": 2}], "landmark 0 is .* expected a list"),
    ],
)
def test_points_that_are_none(value, message):
    with pytest.raises(ValueError, match=f"here: {message}"):
        points_of_json(value, "here")


def test_points():
    np.testing.assert_array_equal(
        points_of_json([[1, 2.5], None, [None, 3]], "here"), [[1, 2.5], [np.nan] * 2, [np.nan, 3]]
    )


@pytest.mark.parametrize("value", ["001", 7, "a b", "träger", "x/y", "日本"])
def test_ids(value):
    assert sample_id_of(value, "here") == str(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " a",
        "a ",
        "a\nb",
        "a\rb",
        "a\tb",
        "a\0b",
        "a\x85b",
        "a\u2028b",
        "\ud800",
        True,
        None,
        [],
        math.nan,
    ],
)
def test_what_is_no_id(value):
    with pytest.raises(ValueError, match="here: "):
        sample_id_of(value, "here")


def test_labels_sizes_and_names_of_the_dataset():
    assert label_of(3, "here", "fold") == "3"
    with pytest.raises(ValueError, match="here: group must be text or a number"):
        label_of(["p"], "here", "group")
    assert size_of(30, 20.0, "here") == (20, 30)
    assert size_of(None, None, "here") is None
    for width, height in ((30, None), (None, 20), ("30", 20), (30.5, 20), (math.inf, 20), (True, 20)):
        with pytest.raises(ValueError, match="here: "):
            size_of(width, height, "here")
    refuse_reserved(["machine"], "here")
    with pytest.raises(ValueError, match="here: 'img_path' is a reserved name; write 'image'"):
        refuse_reserved(["img_path"], "here")


@pytest.mark.parametrize("name", ["a", " a b ", "a\nb", "\N{NO-BREAK SPACE}", "\udcff.", "x\u202e", "\u2028"])
def test_a_name_becomes_an_id(name):
    made = id_of_name(name)
    assert sample_id_of(made, "here") == made
    assert len(made) == len(name)
    assert id_of_name(made) == made
