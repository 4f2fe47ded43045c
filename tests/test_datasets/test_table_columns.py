"""Names of columns."""

from __future__ import annotations

import pytest

from mmlandmark.datasets.table_columns import (
    has_unit,
    is_predicted,
    plain_column,
    point_column,
    point_title,
    radius_title,
    visible_landmark,
    world_title,
)
from mmlandmark.datasets.table_files import read_csv


@pytest.mark.parametrize("name", ["sella", "a_x", "a -", "17", "a.", "x1", "spacing", "p [px]"])
def test_a_title_with_a_unit_keeps_the_name(name):
    assert point_column(point_title(name, 1)) == (name, 1)
    assert has_unit(point_title(name, 1))
    assert point_column(world_title(name, 1)) is None


def test_titles_without_a_unit():
    assert point_column("sella - x") == ("sella", 0)
    assert point_column("x07") == ("7", 0)
    assert point_column("p3z") == ("3", 2)
    assert point_column("spacing_x") is None
    assert not has_unit("sella_x")


def test_columns_of_a_prediction():
    assert radius_title("a", 0.975, "pixels") == "a radius 97.5 % [px]"
    for name in (radius_title("a", 0.9, "mm"), world_title("a", 2), "a score", "a reason", "measure ANB"):
        assert is_predicted(name)
    assert not is_predicted("scores")
    assert visible_landmark("left eye visibility") == "left eye"
    assert visible_landmark("visibility") is None
    assert plain_column("Spacing z [mm/px]") == "spacing_z"
    assert plain_column("spacing [mm]") == "spacing"
    assert plain_column("depth [px]") == "depth"


def test_a_table_in_mm_says_so(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,3._x [mm],3._y [mm],3._z [mm]\na,1,2,3\n")
    records, names = read_csv(path)
    assert (records[0]["in_world"], names) == ("LPS", ["3."])
    assert records[0]["landmarks"].tolist() == [[1, 2, 3]]
    path.write_text("id,3._x [mm],3._y [mm],3._x [px],3._y [px]\na,1,2,3,4\n")
    record = read_csv(path)[0][0]  # pixels need no frame
    assert record["landmarks"].tolist() == [[3, 4]]
    assert "in_world" not in record


def test_a_table_of_x_alone_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,sella_x [px],sella_why\na,1,2\n")
    with pytest.raises(ValueError, match=r"a.csv, line 1: columns missing for \['sella_y'\]; .*'sella_why'"):
        read_csv(path)


def test_visibility_in_a_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,b_x,b_y,a_x,a_y,a visibility,c seen\n1,1,2,,,-1,far\n2,3,4,5,6,,near\n")
    records, _ = read_csv(path, names=("a", "b"))
    assert [record["visibility"] for record in records] == [[-1, 1], [1, 1]]
    assert records[0]["c seen"] == "far"


@pytest.mark.parametrize("title", ["left eye visibility", "left_eye_visibility", "Left Eye.Visibility"])
def test_visibility_is_written_as_the_points_are(tmp_path, title):
    path = tmp_path / "a.csv"
    path.write_text(f"id,left eye_x,left eye_y,{title}\n1,,,-1\n")
    records, _ = read_csv(path)
    assert records[0]["visibility"] == [-1]
    assert title not in records[0]
