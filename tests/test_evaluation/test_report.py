"""Tables of an evaluation."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from mmlandmark.evaluation.report import LandmarkReport, without_nan

NAN = np.nan


@pytest.fixture
def report():
    errors = np.array([[1.0, 3.0, NAN], [2.0, NAN, NAN]])
    annotated = np.array([[True, True, False], [True, True, False]])
    return LandmarkReport.from_errors(
        errors,
        ["sella", "nasion", "porion"],
        unit="mm",
        radii=(2, 2.5),
        annotated=annotated,
        scale_source="spacing",
    )


def test_numbers(report):
    assert report.overall["mre"] == pytest.approx(2)
    assert report.overall["image_mre"] == pytest.approx(2)
    assert report.overall["sdr"] == [50, 50]
    assert {
        key: report.overall[key] for key in ("images", "annotated", "predicted", "missing_gt", "missing_pred")
    } == {
        "images": 2,
        "annotated": 4,
        "predicted": 3,
        "missing_gt": 2,
        "missing_pred": 1,
    }
    assert [row["annotated"] for row in report.landmarks] == [2, 2, 0]
    assert report.landmarks[1]["sdr"] == [0, 0]


def test_scalars_carry_the_unit(report):
    scalars = report.scalars
    assert scalars["sdr_2mm"] == 50
    assert scalars["outliers_2.5mm"] == 50
    assert scalars["num_missing_pred"] == 1
    pixels = LandmarkReport.from_errors(np.array([[20.0]]), ["a"], unit="px", radii=(20,), strict=True)
    assert pixels.scalars["sdr_20px"] == 0
    assert LandmarkReport.from_errors(np.array([[0.1]]), ["a"], unit="normalized", radii=(0.1,)).scalars[
        "sdr_0.1norm"
    ]


def test_markdown(report):
    text = report.to_markdown()
    lines = text.splitlines()
    assert "3 of 4 annotated points predicted, 2 not annotated" in lines[0]
    assert "Errors in mm (spacing)" in lines[0]
    assert "error <= radius" in lines[0]
    assert [cell.strip() for cell in lines[2].strip("|").split("|")][:3] == ["landmark", "points", "MRE (mm)"]
    assert [cell.strip() for cell in lines[4].strip("|").split("|")][:4] == ["all", "4", "2.00", "0.82"]
    assert [cell.strip() for cell in lines[7].strip("|").split("|")] == [
        "porion",
        "0",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
    ]
    assert len({len(line) for line in lines[2:]}) == 1


def test_the_hardest_landmarks_are_named(report):
    errors = np.array([[1.0, 9.0, 2.0, NAN, NAN, 4.0, 3.0]] * 2)
    annotated = np.isfinite(errors)
    annotated[0, 3] = True  # annotated, but never predicted
    made = LandmarkReport.from_errors(errors, "abc|efg", unit="px", radii=(2,), annotated=annotated)
    assert made.to_dict()["hardest"] == ["|", "b"]
    assert r"Hardest by MRE: \| (never predicted), b 9.00." in made.to_markdown()
    assert [row["name"] for row in report.hardest] == []  # two of three are annotated
    many = LandmarkReport.from_errors(np.arange(38.0).reshape(2, 19), range(19), unit="px", radii=(2,))
    assert [row["name"] for row in many.hardest] == ["18", "17", "16", "15", "14"]


def test_errors_of_volumes_are_in_voxels():
    report = LandmarkReport.from_errors(np.ones((2, 1)), ["sella"], unit="px", radii=(2,), dims=3)
    text = report.to_markdown()
    assert text.startswith("Errors in voxels")
    assert "MRE (voxels)" in text
    assert "SDR 2 voxels" in text
    assert "px" not in text
    assert "sdr_2px" in report.scalars, "the keys of metrics stay"


def test_csv_and_json_hold_the_same_numbers(report, tmp_path):
    report.save(tmp_path / "r.csv")
    report.save(tmp_path / "r.json")
    with open(tmp_path / "r.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    data = json.loads((tmp_path / "r.json").read_text())
    assert [row["landmark"] for row in rows] == ["all", "sella", "nasion", "porion"]
    assert float(rows[0]["SD (mm)"]) == data["overall"]["sd"]
    assert rows[3]["MRE (mm)"] == ""
    assert data["landmarks"][2]["mre"] is None


def test_names_of_landmarks_are_only_text():
    names = ["a|b", '=HYPERLINK("http://x")', "<b>bold</b>\nline", "-1", "plain"]
    hostile = LandmarkReport.from_errors(
        np.ones((1, 5)), names, unit="px", radii=(2,), scale_source="<i>|", tested="a`|b"
    )
    lines = hostile.to_markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(lines) == 2 + len(table)  # a sentence and an empty line in front of one table
    assert len(table) == 3 + len(names)
    assert {line.replace("\\|", "").count("|") for line in table} == {8}
    assert not any("<" in line for line in table)
    rows = list(csv.reader(hostile.to_csv().splitlines(keepends=True)))
    assert [row[0] for row in rows[2:]] == ["a|b", "'" + names[1], names[2], "'-1", "plain"]


def test_refuses(report, tmp_path):
    with pytest.raises(ValueError, match=r"r\.xlsx: the file name of a report must end in"):
        report.save(tmp_path / "r.xlsx")
    with pytest.raises(ValueError, match="disagree"):
        LandmarkReport.from_errors(np.zeros((1, 2)), ["a"], unit="mm", radii=(2,))
    with pytest.raises(ValueError, match="unit must be"):
        LandmarkReport.from_errors(np.zeros((1, 1)), ["a"], unit="cm", radii=(2,))


def test_without_nan():
    data = {
        "a": np.array([1.0, NAN]),
        2: (np.float32(3), float("inf")),
        "c": None,
        "d": np.int64(4),
        "e": True,
    }
    assert without_nan(data) == {"a": [1.0, None], "2": [3.0, None], "c": None, "d": 4, "e": True}
