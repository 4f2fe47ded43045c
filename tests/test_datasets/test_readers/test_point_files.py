"""Files with the points of one image: what they hold, and what their numbers are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets.readers.point_files import read_points

POINTS = np.array([[1.5, -2, 3], [4, 5, 6]])


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "coordinates"),
    [
        ("a.csv", "label,l,p,s,defined,selected\nsella,1.5,-2,3,1,1\nnasion,4,5,6,1,0\n", "LPS"),
        ("a.csv", "label,r,a,s\nsella,1.5,-2,3\nnasion,4,5,6\n", "RAS"),
        ("a.csv", "k;j;i;Name\n3;-2;1.5;sella\n6;5;4;nasion\n", "pixels"),
        ("a.tsv", "landmark\tx [mm]\ty [mm]\tz [mm]\nsella\t1.5\t-2\t3\nnasion\t4\t5\t6\n", "LPS"),
        ("a.csv", "landmark,x [px],y [px],z [px]\nsella,1.5,-2,3\nnasion,4,5,6\n", "pixels"),
        ("a.csv", "name,x,y,z\nsella,1.5,-2,3\nnasion,4,5,6\n", None),
        ("a.csv", "# CoordinateSystem=0\nname,x [mm],y [mm],z [mm]\nsella,1.5,-2,3\nnasion,4,5,6\n", "RAS"),
        ("a.txt", "# CoordinateSystem = LPS\nsella 1.5 -2 3\nnasion   4 5 6\n", "LPS"),
        ("a.txt", "# coordinate system: voxels\nsella\t1.5\t-2\t3\n\nnasion\t4\t5\t6", "pixels"),
        ("a.csv", "sella,1.5,-2,3\nnasion,4,5,6\n", None),
        ("a.json", '{"sella": [1.5, -2, 3], "nasion": [4, 5, 6]}', "pixels"),
        ("a.json", '{"sella": {"coordinates": [1.5, -2, 3], "likelihood": 0.5}, "nasion": {"coordinates": '
                   '[4, 5, 6]}, "spacing": [1, 1, 1]}', "pixels"),
    ],
)  # fmt: skip
def test_names_points_and_what_the_numbers_are(tmp_path, name, text, coordinates):
    found = read_points(written(tmp_path, name, text))
    assert found.names == ["sella", "nasion"]
    assert found.named
    assert found.coordinates == coordinates
    np.testing.assert_array_equal(found.points, POINTS)
    assert found.visibility == [1, 1]


def test_files_of_slicer_by_content(tmp_path):
    points = [dict(label="sella", position=[1.5, -2, 3])]
    markup = dict(type="Fiducial", coordinateSystem="RAS", controlPoints=points)
    for name in ("a.mrk.json", "a.json"):
        found = read_points(written(tmp_path, name, json.dumps(dict(markups=[markup]))))
        assert (found.names, found.coordinates, found.points.tolist()) == (["sella"], "LPS", [[-1.5, 2, 3]])


def test_points_without_names_are_counted(tmp_path):
    found = read_points(written(tmp_path, "a.txt", "1.5 -2 3\n4 5 6\n"))
    assert (found.names, found.named) == (["1", "2"], False)
    flat = read_points(written(tmp_path, "a.txt", "1 2\n4 5\n"), dims=2)
    assert flat.points.tolist() == [[1, 2], [4, 5]]
    numbered = read_points(written(tmp_path, "a.txt", "7 1.5 -2 3\n9 4 5 6\n"))
    assert (numbered.names, numbered.named) == (["7", "9"], True)
    np.testing.assert_array_equal(numbered.points, POINTS)


def test_points_that_are_not_there(tmp_path):
    found = read_points(written(tmp_path, "a.csv", "label,l,p,s,defined\na,1,2,3,0\nb,,,,1\nc,1,2,3,1\n"))
    assert found.visibility == [0, 0, 1]
    assert np.isnan(found.points[:2]).all()
    found = read_points(written(tmp_path, "a.json", '{"a": null, "b": [1, 2, 3]}'))
    assert found.visibility == [0, 1]


def test_names_from_the_description(tmp_path):
    text = "label,l,p,s,description\n1,1,2,3,AC\n2,1,2,4,PC\n"
    assert read_points(written(tmp_path, "a.csv", text), "description").names == ["AC", "PC"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "\n# nothing\n", r"a.csv: there is no point in it"),
        ("a.csv", "name,x,y,z\n", r"a.csv: there is no point in it, only a header"),
        ("a.csv", "a,1\n", r"a.csv, line 1: 2 cells, expected 3 coordinates, with or without a name"),
        ("a.csv", "a,1,2,3,4\n", r"a.csv, line 1: 5 cells, expected 3 coordinates, with or without a n"),
        ("a.csv", "a,1,2,3\nb,1,2\n", r"a.csv, line 2: 3 cells, but the first line has 4"),
        ("a.csv", "a,1,2,3\na,1,2,4\n", r"a.csv: a second point 'a'; names must be unique"),
        ("a.csv", "a,1,2,3\nb,1,,3\n", r"a.csv, line 2: only some coordinates are given"),
        ("a.csv", "name,u,v,w\na,1,2,3\n", r"a.csv, line 1: no columns of coordinates \(x, y, z; l, p, s"),
        ("a.csv", "name,x [in],y [in],z [in]\na,1,2,3\n", r"line 1: the unit of coordinates is \[mm\]"),
        ("a.csv", "# CoordinateSystem = LPS\nname,i,j,k\na,1,2,3\n", r"line 2: what the numbers are is sai"),
        ("a.csv", "name,i [mm],j [mm],k [mm]\na,1,2,3\n", r"line 1: what the numbers are is said twice"),
        ("a.txt", "# CoordinateSystem = scanner\na 1 2 3\n", r"line 1: the coordinate system 'scanner'"),
        ("a.txt", "a 1 two 3\nb 1 2 3\n", r"a.txt, line 1: no columns of coordinates"),
        ("a.json", "{}", r"a.json: expected an object of points by name"),
        ("a.json", '{"a": [1, 2, 3], "b": [1, 2]}', r"a.json: expected an object of points by name"),
        ("a.json", '{"a": [1, 2, 1%s]}' % ("0" * 400), r"a.json, 'a': a coordinate 1000.* is too large"),
        ("a.csv", "a,1,2,%s\n" % ("x" * 200_000), r"a.csv, line 1: not a line of a table: field larger"),
        ("a.json", '{"a": [1, 2, "3"]}', r"a.json, 'a': expected a list of 2 or 3 numbers, got"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_points(written(tmp_path, name, text))
