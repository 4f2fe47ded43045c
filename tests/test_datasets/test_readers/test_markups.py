"""Files of 3D Slicer: point lists in LPS and RAS."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from mmlandmark.datasets.readers.markups import read_markups

HEAD = "# Markups fiducial file version = 4.11\n# CoordinateSystem = {}\n# columns = id,x,y,z,...\n"
ROW = "n_1,{},{},{},0,0,0,1,1,1,0,{},{},vtkMRMLScalarVolumeNode1\n"


def point(label="a", position=(1, 2, 3), **more):
    return dict(label=label, description="AC", position=list(position), positionStatus="defined") | more


def markup(points, **more):
    return dict(type="Fiducial", coordinateSystem="LPS", controlPoints=points) | more


def json_file(tmp_path, *markups, **more):
    path = tmp_path / "a.mrk.json"
    path.write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": markups} | more))
    return path


def fcsv_file(tmp_path, text):
    path = tmp_path / "a.fcsv"
    path.write_text(text, newline="")
    return path


@pytest.mark.parametrize(("system", "position"), [("LPS", (1, 2, 3)), ("RAS", (-1, -2, 3))])
def test_lps_and_ras_are_one_place(tmp_path, system, position):
    path = json_file(tmp_path, markup([point(position=position)], coordinateSystem=system))
    assert read_markups(path).points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("system", "x", "y", "end"),
    [("LPS", 1, 2, "\n"), ("1", 1, 2, "\n"), ("RAS", -1, -2, "\n"), ("0", -1, -2, "\r\n")],
)
def test_fcsv(tmp_path, system, x, y, end):
    text = HEAD.format(system) + ROW.format(x, y, 3, "a ", '"AC, left"') + ROW.format(x, y, 4, "b", "")
    read = read_markups(fcsv_file(tmp_path, text.replace("\n", end)))
    assert read.names == ["a", "b"]
    assert read.points.tolist() == [[1, 2, 3], [1, 2, 4]]
    assert read.visibility == [1, 1]
    with pytest.raises(
        ValueError, match=r"a.fcsv, line 5: the point has no description; is its name the label\?"
    ):
        read_markups(tmp_path / "a.fcsv", names_from="description")


def test_units(tmp_path):
    for units, factor in [("mm", 1), (["mm", "UCUM", "millimeter"], 1), ("um", 1e-3)]:
        read = read_markups(json_file(tmp_path, markup([point()], coordinateUnits=units)))
        np.testing.assert_allclose(read.points, factor * np.array([[1, 2, 3]]))


def test_points_that_are_not_placed(tmp_path):
    points = [
        point("a", positionStatus="undefined"),
        dict(label="b", positionStatus="missing"),
        dict(label="c", positionStatus="undefined", description="absent; presence 0.1"),
        point("d", description="absent; presence 0.1"),
        dict(label="e", position=[1, 2, 3]),
        point("f", positionStatus="preview"),
    ]
    read = read_markups(json_file(tmp_path, markup(points)))
    assert read.visibility == [0, -1, -1, 1, 1, 0]
    assert np.isfinite(read.points).all(axis=1).tolist() == [False, False, False, True, True, False]
    text = HEAD.format("LPS") + "".join(f"n,1,2,3,0,0,0,1,1,1,0,{n},,,{n},0\n" for n in range(4))
    assert read_markups(fcsv_file(tmp_path, text)).visibility == [0, 0, 1, -1]


def test_other_markups_in_the_file_are_not_points(tmp_path):
    read = read_markups(json_file(tmp_path, dict(type="Line"), markup([point()])))
    assert read.names == ["a"]
    assert read_markups(tmp_path / "a.mrk.json", names_from="description").names == ["AC"]


@pytest.mark.parametrize(
    ("markups", "message"),
    [
        (
            [markup([point()], coordinateSystem=None)],
            r"markups\[0\]: the file does not say whether it is in LPS",
        ),
        ([markup([point()], coordinateSystem="IJK")], r"coordinateSystem 'IJK' is not LPS or RAS"),
        ([markup([point()], coordinateUnits="inch")], r"coordinateUnits 'inch' is not one of \['mm', 'um'\]"),
        ([markup([point()]), markup([])], r"one point list .* has \['Fiducial', 'Fiducial'\]: save each"),
        ([dict(type="Curve")], r"one point list .* is needed, it has \['Curve'\]: place the points"),
        ([3], r"needs a list of objects under 'markups'"),
        ([markup([])], r"a.mrk.json: there is no point in it"),
        ([markup(3)], r"'controlPoints' must be a list, got 3"),
        ([markup([3])], r"controlPoints\[0\]: expected an object, got 3"),
        ([markup([point(), point()])], r"controlPoints\[1\]: a second point 'a'; names must be unique"),
        ([markup([point(label=" ")])], r"the point has no label; is its name the description\?"),
        ([markup([point(label=3)])], r"'label' must be text, got 3"),
        ([markup([point(label="a\nb")])], r"the name 'a\\nb' is not printable text"),
        ([markup([point(position=[1, 2])])], r"'position' must be three numbers, got \[1, 2\]"),
        ([markup([point(position=[1, 2, True])])], r"'position' must be three numbers"),
        ([markup([point(position=[1, 2, float("nan")])])], r"'position' .* is not finite"),
        ([markup([point(positionStatus={})])], r"positionStatus {} is not one of"),
        ([markup([point(positionStatus="lost")])], r"positionStatus 'lost' is not one of"),
    ],
)
def test_a_broken_json_names_the_place(tmp_path, markups, message):
    with pytest.raises(ValueError, match=message):
        read_markups(json_file(tmp_path, *markups))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROW.format(1, 2, 3, "a", ""), r"a.fcsv: the file does not say whether it is in LPS or RAS"),
        (HEAD.format("2") + ROW.format(1, 2, 3, "a", ""), r"coordinateSystem '2' is not LPS or RAS"),
        (HEAD.format("lps") + ROW, r"coordinateSystem 'lps' is not LPS or RAS"),
        (HEAD.format("LPS") + "a,1,2,3\n", r"a.fcsv, line 4: 4 fields, expected id,x,y,z"),
        (HEAD.format("LPS") + ROW.format(1, "two", 3, "a", ""), r"line 4: 'two' is not a number"),
        (HEAD.format("LPS") + ROW.format(1, "", 3, "a", ""), r"line 4: the point has no position"),
        (HEAD.format("LPS"), r"a.fcsv: there is no point in it"),
        (HEAD.format("LPS") + "n,1,2,3,0,0,0,1,1,1,0,a,,,9\n", r"line 4: the position status '9' is not one"),
    ],
)
def test_a_broken_fcsv_names_the_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_markups(fcsv_file(tmp_path, text))


@pytest.mark.real_data
def test_every_file_of_every_rater(real_data):
    """Three of 227 files have a label twice, and one has 13 points; the template is there in both formats."""
    folder = real_data("afids_brain")
    read, refused = {}, []
    for path in sorted(folder.rglob("*.fcsv")):
        try:
            read[path] = read_markups(path)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) == 3
    assert all(re.search(r"Rater08_._\d+.fcsv, line \d+: a second point '\d+'", text) for text in refused)
    assert sorted(len(points.names) for points in read.values()) == [13, *[32] * 223]
    template = next(path for path in read if path.parent == folder)
    new = sorted(folder.glob("*_afids.json"))
    assert len(new) == 1
    copy = np.array([p["position"] for p in json.loads(new[0].read_text())["markups"][0]["controlPoints"]])
    np.testing.assert_allclose(read[template].points, copy * [-1, -1, 1], atol=1e-9)
