"""The table of measures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmlandmark.evaluation import MeasureReport

DEFINITIONS = [
    dict(name="one|two", classes=[dict(label="low", below=1), dict(label="high")]),
    dict(name="share"),
]


def test_numbers_and_tables():
    predicted = np.array([[0.5, 0.25], [2.0, np.nan], [1.5, 0.5]])
    true = np.array([[0.0, 0.2], [0.5, 0.4], [1.5, np.nan]])
    report = MeasureReport.from_values(predicted, true, DEFINITIONS, ["degrees", ""], source="labels")
    one, share = report.rows
    assert (one["mae"], one["bias"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert one["sd"] == pytest.approx(np.std([0.5, 1.5, 0], ddof=1))
    assert one["p95"] == pytest.approx(np.percentile([0.5, 1.5, 0], 95))
    assert (share["values"], share["missing"], share["mae"]) == (2, 1, pytest.approx(0.05))
    assert one["accuracy"] == pytest.approx(200 / 3)
    assert report.scalars == {
        "mae_one|two": one["mae"],
        "mae_share": share["mae"],
        "class_accuracy_one|two": one["accuracy"],
        "class_accuracy": one["accuracy"],
        "num_missing_measures": 1,
    }
    # What is not predicted counts as 0; the third image lacks a true value.
    assert report.smape == pytest.approx(100 * ((0.5 + 0.05) / (0.5 + 0.45) + 1.9 / 2.9) / 2)
    assert report.smape_left_out == 1
    text = report.to_markdown()
    assert "Measures against labels: 3 images." in text
    assert r"one\|two" in text
    assert "0.050" in text
    assert "nan" not in text


def test_angles_with_a_sign_are_compared_around_the_circle():
    """A flat angle changes its sign, and the two values are neighbours."""
    predicted, true = np.array([[-179.0], [178.0], [10.0]]), np.array([[179.0], [-178.0], [-10.0]])
    signed = dict(name="convexity", kind="angle", points=[0, 1, 2], positive=3)
    (row,) = MeasureReport.from_values(predicted, true, [signed], ["degrees"]).rows
    assert row["mae"] == pytest.approx((2 + 4 + 20) / 3)
    assert row["bias"] == pytest.approx((2 - 4 + 20) / 3)
    (row,) = MeasureReport.from_values(predicted, true, [dict(name="x", kind="sum")], ["degrees"]).rows
    assert row["mae"] == pytest.approx((358 + 356 + 20) / 3)


def test_nothing_measured():
    report = MeasureReport.from_values(np.full((2, 2), np.nan), np.ones((2, 2)), DEFINITIONS, ["mm", ""])
    assert report.smape == 100  # nothing is as wrong as no answer
    none = MeasureReport.from_values(np.ones((2, 2)), np.full((2, 2), np.nan), DEFINITIONS, ["mm", ""])
    assert math.isnan(none.smape)
    assert none.smape_left_out == 2
    assert math.isnan(report.rows[0]["mae"])
    assert report.rows[0]["missing"] == 2
    assert report.rows[0]["accuracy"] == 0
    assert report.to_dict()["measures"][1]["mae"] is None


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="2 measures need as many"):
        MeasureReport.from_values(np.ones((2, 1)), np.ones((2, 1)), DEFINITIONS, ["mm", ""])


def test_a_report_is_written_in_the_format_of_its_suffix(tmp_path):
    report = MeasureReport.from_values(np.ones((2, 2)), np.ones((2, 2)), DEFINITIONS, ["mm", ""])
    for kind in ("md", "csv", "json"):
        report.save(tmp_path / f"r.{kind}")
        assert (tmp_path / f"r.{kind}").stat().st_size > 50
    with pytest.raises(ValueError, match="must end in one of"):
        report.save(tmp_path / "r.txt")
