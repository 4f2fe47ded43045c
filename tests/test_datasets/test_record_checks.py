"""Faults that a record shows by itself: what is missing, impossible or a placeholder."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.check_report import one_line
from mmlandmark.datasets.checks import check_dataset
from test_datasets.ladders import check_ladder, kinds_and_samples, ladder, ladder_dataset, of_check


@pytest.mark.parametrize("value", [(0, 0), (-1, -1), (119, 179), (120, 180), (0, 179), (33.3, 44.4)])
def test_placeholders_name_their_landmark_and_disturb_nothing_else(tmp_path, value):
    points = ladder()
    points[[2, 9, 20, 21], 7] = value
    report = check_ladder(tmp_path, points)
    assert of_check(report, "placeholder") == {("t2", 7), ("t9", 7), ("t20", 7), ("t21", 7)}
    assert set(report["summary"]) == {"placeholder"}
    assert report["severities"] == {"error": 4, "warning": 0, "note": 0}
    line = one_line(report["findings"][0])
    assert line.startswith("error: ")
    assert "a.json" in line
    assert "landmark 7 (right3)" in line
    assert "write null" in line


def test_whole_pixels_that_meet_by_chance_are_no_placeholders(tmp_path):
    points = ladder(300).round()
    _, counts = np.unique(points[:, 0], axis=0, return_counts=True)
    assert counts.max() > 10  # in one of about 70 pixels each
    assert not check_ladder(tmp_path, points)["summary"].get("placeholder")


def test_fractions_of_the_image(tmp_path):
    points = ladder() / (119, 179)
    report = check_ladder(tmp_path, points)
    assert [(f["check"], f["sample_id"], f["severity"]) for f in report["findings"]] == [
        ("fractions", "", "error")
    ]
    some = ladder()
    some[[3, 8]] /= (119, 179)
    report = check_dataset(dict(train=ladder_dataset(tmp_path / "s", some)))
    assert kinds_and_samples(report) == {("fractions", "s3"), ("fractions", "s8")}
    assert not any("in steps" in f["message"] for f in report["findings"])


def test_fractions_that_are_too_coarse_to_become_pixels(tmp_path):
    points = ladder()
    points[3] = (points[3] / (119, 179)).round(1)
    points[8] = (points[8] / (119, 179)).round(3)
    report = check_ladder(tmp_path, points)
    messages = {f["sample_id"]: f["message"] for f in report["findings"] if f["check"] == "fractions"}
    assert "in steps of 0.1, which are 18 px: annotate again" in messages["t3"]
    assert messages["t8"] == "all coordinates lie between 0 and 1"


def test_landmarks_that_nobody_annotated(tmp_path):
    train, test = ladder(12, 0), ladder(12, 1)
    train[:, 3], train[2:, 5] = np.nan, np.nan
    splits = dict(train=ladder_dataset(tmp_path / "a", train), test=ladder_dataset(tmp_path / "b", test))
    report = check_dataset(splits)
    assert of_check(report, "landmark never annotated") == {("", 3)}
    assert of_check(report, "rarely annotated") == {("", 5)}
    never = next(f for f in report["findings"] if f["check"] == "landmark never annotated")
    assert never["severity"] == "error"
    assert "landmark 3 (right1) is annotated in none of the 12 samples of 'train'" in never["message"]
    empty = ladder_dataset(tmp_path / "c", np.full((5, 12, 2), np.nan))
    report = check_dataset(dict(train=empty, test=splits["test"]))
    assert of_check(report, "nothing annotated") == {("",)}


def test_spacing(tmp_path):
    spacing = [0.1] * 30
    spacing[4], spacing[9] = None, 1.0
    results = kinds_and_samples(check_ladder(tmp_path, ladder(), spacing=spacing))
    assert results == {("spacing", "t4"), ("spacing", "t9")}


@pytest.mark.parametrize(
    ("count", "wrong", "told"),
    [
        (2, 0.01, {"t0": "has [0.01, 0.01] mm", "t1": "other sample has [0.1, 0.1] mm: cm in place of mm?"}),
        (3, 100.0, {"t1": "[100.0, 100.0] mm: its longest side is 18 m, longer than a patient: micrometres"}),
        (5, 0.01, {"t1": "spacing [0.01, 0.01] mm, but the median is [0.1, 0.1] mm: cm in place of mm?"}),
        (9, 0.0001, {"t1": "its longest side is 0.018 mm: metres or cm in place of mm?"}),
    ],
)
def test_units_of_spacing_in_few_samples(tmp_path, count, wrong, told):
    spacing = [0.1] * count
    spacing[1] = wrong
    found = check_ladder(tmp_path, ladder(count), spacing=spacing)["findings"]
    assert {(f["check"], f["sample_id"]) for f in found} == {("spacing", sample) for sample in told}
    for finding in found:
        assert told[finding["sample_id"]] in finding["message"]


@pytest.mark.parametrize("count", [1, 4, 30])
def test_a_unit_that_all_samples_have_wrong(tmp_path, count):
    (found,) = check_ladder(tmp_path, ladder(count), spacing=[141.0] * count)["findings"]
    assert found["sample_id"] == ("t0" if count == 1 else "")
    assert "longest side is 25.4 m, longer than a patient: micrometres in place of mm?" in found["message"]
    assert check_ladder(tmp_path / "right", ladder(count), spacing=[0.141] * count)["findings"] == []


def test_shapes_of_another_unit_in_few_samples(tmp_path):
    points = ladder(4)
    points[2] = points[2] / 10 + 50
    (found,) = check_ladder(tmp_path, points)["findings"]
    assert (found["check"], found["sample_id"]) == ("position outlier", "t2")
    assert "its landmarks lie 0.1 times as far apart as those of the others" in found["message"]
    assert "check the unit of its points" in found["advice"]
    # Larger pixels explain it.
    spacing = [1.0, 1.0, 10.0, 1.0]
    found = check_ladder(tmp_path / "s", points, spacing=spacing)["findings"]
    assert [(f["check"], f["sample_id"]) for f in found] == [("spacing", "t2")]
