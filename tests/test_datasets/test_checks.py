"""All checks together: planted faults are found, clean data stays quiet, the worst comes first."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.check_report import to_markdown
from test_datasets.ladders import check_ladder, kinds_and_samples, ladder


def test_clean_data_is_quiet(tmp_path):
    report = check_ladder(tmp_path, ladder())
    assert report["findings"] == []
    assert report["splits"]["train"]["samples"] == 30
    assert report["splits"]["train"]["image_size"] == {"x": [120, 120], "y": [180, 180]}
    assert "Nothing was found" in to_markdown(report)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda p: p.__setitem__((3, 0), [-0.6, 20]), "point outside"),
        (lambda p: p.__setitem__((3, 11), [119.6, 145]), "point outside"),
        (lambda p: p.__setitem__((3, 4), p[3, 6] + 1), "points too close"),
        (lambda p: p.__setitem__((3, [4, 5]), p[3, [5, 4]]), "left-right swap"),
        (lambda p: p.__setitem__((3, [4, 6]), p[3, [6, 4]]), "order break"),
        (lambda p: p.__setitem__(3, p[3] * [-1, 1] + [119, 0]), "mirrored shape"),
        (lambda p: p.__setitem__(3, p[3][np.random.default_rng(0).permutation(12)]), "shape outlier"),
        (lambda p: p.__setitem__(3, p[7]), "same landmarks"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, fault, expected):
    points = ladder()
    fault(points)
    results = kinds_and_samples(check_ladder(tmp_path, points))
    culprit = "t7" if expected == "same landmarks" else "t3"
    assert (expected, culprit) in results
    assert {sample for _, sample in results} == {culprit}


def test_findings_come_worst_first(tmp_path):
    points = ladder()
    points[3, [4, 5]], points[8, 1], points[9, 11] = points[3, [5, 4]], (0, 0), (60, 3000)
    report = check_ladder(tmp_path, points)
    severities = [f["severity"] for f in report["findings"]]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert {("placeholder", "t8"), ("far outside", "t9"), ("left-right swap", "t3")} <= kinds_and_samples(
        report
    )


def test_few_records_teach_nothing(tmp_path):
    points = ladder(9)
    points[3, [4, 5]] = points[3, [5, 4]]
    assert check_ladder(tmp_path, points)["findings"] == []


def test_missing_landmarks_are_counted_and_disturb_nothing(tmp_path):
    points = ladder()
    points[:20, 3] = np.nan
    points[5] = np.nan
    report = check_ladder(tmp_path, points)
    assert report["findings"] == []
    split = report["splits"]["train"]
    assert (split["missing_landmarks"], split["samples_without_landmarks"]) == (31, 1)
    assert report["landmarks"][3]["annotated"] == 10
