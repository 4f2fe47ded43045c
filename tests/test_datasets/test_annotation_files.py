"""The project's own JSON and CSV."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets.annotation_files import read_annotations

NAN = float("nan")


def csv_file(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def json_file(tmp_path, data):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_header_in_any_order(tmp_path):
    text = "group,b_y,image,a_x,spacing,a_y,b_x,machine\np1,4,sub/one.png,1,0.1,2,3,X\n,,two.png,5,,6,,Y\n"
    annotations = read_annotations(csv_file(tmp_path, text), names=("a", "b"))
    one, two = annotations.records
    assert one["sample_id"] == "one"
    assert one["image"] == "sub/one.png"
    np.testing.assert_array_equal(one["landmarks"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(two["landmarks"], [[5, 6], [NAN, NAN]])
    assert (one["spacing"], one["group"], one["machine"]) == (0.1, "p1", "X")
    assert "spacing" not in two
    assert "group" not in two
    assert two["source"].endswith("a.csv, line 3")


def test_header_names_the_schema_when_nobody_else_does(tmp_path):
    annotations = read_annotations(csv_file(tmp_path, "id,b_x,b_y,a_x,a_y\n7,1,2,3,4\n"))
    assert annotations.schema.landmarks == ("b", "a")
    assert annotations.records[0]["sample_id"] == "7"


def test_a_landmark_of_the_schema_without_columns_is_missing(tmp_path):
    annotations = read_annotations(csv_file(tmp_path, "image,b_x,b_y\n7.png,1,2\n"), names=("a", "b"))
    np.testing.assert_array_equal(annotations.records[0]["landmarks"], [[NAN, NAN], [1, 2]])


@pytest.mark.parametrize("header", ["file,x1,y1,x0,y0", "file,p2x,p2y,p1x,p1y", "file,x_10,y_10,x_9,y_9"])
def test_numbered_columns_are_sorted_by_number(tmp_path, header):
    annotations = read_annotations(csv_file(tmp_path, header + "\none.bmp,3,4,1,2\n"))
    np.testing.assert_array_equal(annotations.records[0]["landmarks"], [[1, 2], [3, 4]])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_without_header(tmp_path, separator):
    text = "001,1,2,3,4\n002,,,nan,NaN\n".replace(",", separator)
    first, second = read_annotations(csv_file(tmp_path, text)).records
    assert first["sample_id"] == "001"
    np.testing.assert_array_equal(first["landmarks"], [[1, 2], [3, 4]])
    assert np.isnan(second["landmarks"]).all()


def test_three_dimensions(tmp_path):
    bare = read_annotations(csv_file(tmp_path, "v.nii.gz,1,2,3,4,5,6\n"), dims=3).records[0]
    np.testing.assert_array_equal(bare["landmarks"], [[1, 2, 3], [4, 5, 6]])
    header = "id,a_z,a_x,a_y,spacing_x,spacing_y,spacing_z\n"
    named = read_annotations(csv_file(tmp_path, header + "v,3,1,2,.1,.2,.3\n")).records[0]
    np.testing.assert_array_equal(named["landmarks"], [[1, 2, 3]])
    assert named["spacing"] == [0.1, 0.2, 0.3]


def test_size_split_and_fold_columns(tmp_path):
    text = "id,image,x0,y0,width,height,split,fold\na,a.png,1,2,30,20,train,1\n"
    record = read_annotations(csv_file(tmp_path, text)).records[0]
    assert (record["ori_shape"], record["split"], record["fold"]) == ((20, 30), "train", "1")


def test_json_points_by_name_or_in_order(tmp_path):
    data = dict(
        schema=dict(name="two", landmarks=["a", "b"]),
        samples=[
            dict(id="x", image="x.png", landmarks=dict(b=[1, 2])),
            dict(image="y.png", landmarks=[[3, 4], None], visibility=[1, -1], weights=[1, 0]),
            dict(image="z.png", landmarks=None),
        ],
    )
    annotations = read_annotations(json_file(tmp_path, data))
    assert annotations.schema.name == "two"
    x, y, z = annotations.records
    np.testing.assert_array_equal(x["landmarks"], [[NAN, NAN], [1, 2]])
    np.testing.assert_array_equal(y["landmarks"], [[3, 4], [NAN, NAN]])
    assert (y["visibility"], y["weights"]) == ([1, -1], [1, 0])
    assert z["landmarks"] is None


def test_json_by_several_annotators(tmp_path):
    data = dict(
        schema=dict(name="two", landmarks=["a", "b"]),
        samples=[
            dict(id="x", by_annotator=[[[1, 2], [3, 4]], dict(a=[2, 5])]),
            dict(id="y", by_annotator=[[[1, 2], [3, 4]]], landmarks=[[7, 8], None]),
        ],
    )
    x, y = read_annotations(json_file(tmp_path, data)).records
    np.testing.assert_array_equal(x["by_annotator"], [[[1, 2], [3, 4]], [[2, 5], [NAN, NAN]]])
    np.testing.assert_array_equal(x["landmarks"], [[1.5, 3.5], [NAN, NAN]])
    np.testing.assert_array_equal(y["landmarks"], [[7, 8], [NAN, NAN]])


def test_json_schema_inside_the_file(tmp_path):
    names = [f"a landmark with a rather long name, number {i}" for i in range(19)]
    schema = dict(name="inside", landmarks=names)
    annotations = read_annotations(json_file(tmp_path, dict(schema=schema, samples=[])))
    assert annotations.schema.landmarks == tuple(names)


def test_json_schema_beside_the_file(tmp_path):
    (tmp_path / "own.json").write_text(json.dumps(dict(name="own", landmarks=["only"])))
    annotations = read_annotations(json_file(tmp_path, dict(schema="own.json", samples=[])))
    assert annotations.schema.landmarks == ("only",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("id,a_x,a_y\nq,1\n", r"line 2: 2 cells, but the header has 3"),
        ("id,a_x,a_y\nq,1,two\n", r"line 2: 'two' is not a number"),
        ("id,a_x,a_y\nq,1,1\nw,q,1\n", r"line 3: 'q' is not a number"),
        ("id,a_x,b_x,b_y\nq,1,2,3\n", r"line 1: columns missing for \['a_y'\]"),
        ("id,a_x,a_y,a_x\nq,1,2,3\n", r"line 1: columns named twice: \['a_x'\]"),
        ("a_x,a_y,note\n1,2,q\n", r"needs a column 'image' or 'id'"),
        ("filee,a_x,a_y\n1.png,1,2\n", r"needs a column 'image' or 'id'.*did you mean 'file' for 'filee'"),
        (
            "id,p1x,p1y,p2xx,p2y\nq,1,2,3,4\n",
            r"line 1: columns missing for \['2_x'\]; not taken as coordinates: 'id', 'p2xx'",
        ),
        ("id,image\n1,2\n", r"line 1: no columns of coordinates"),
        ("id,c_x,c_y\nq,1,2\n", r"landmarks \['c'\] are not in the schema"),
        ("q,1,2,3\n", r"line 1: 3 numbers after the first cell"),
        ("q,1,2\nw,1,z\n", r"line 2: 'z' is not a number"),
    ],
)
def test_broken_csv_names_the_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_annotations(csv_file(tmp_path, text), names=("a", "b"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "needs a list under 'samples'"),
        (dict(images=[], annotations=[], categories=[]), "CocoKeypoints"),
        (
            dict(samples=[], spacings=1),
            r"unknown keys \['spacings'\] \(did you mean 'spacing' for 'spacings'\?\)",
        ),
        (dict(samples=[], schema=5), "'schema' must be an object or the name of one"),
        (dict(samples=[], schema=dict(name="x")), r"a\.json, schema: a landmark schema needs"),
        (dict(samples=[dict(landmarks=[])]), r"samples\[0\]: a sample is an object"),
        (dict(samples=[dict(id="a")]), r"samples\[0\]: 'landmarks' is missing"),
        (dict(samples=[dict(id="a", by_annotator=3)]), r"samples\[0\]: 'by_annotator' must be a list"),
        (
            dict(samples=[dict(id="a", by_annotator=[[[1, 2]], [[1, 2], [3, 4]]])]),
            "the same number of landmarks",
        ),
        (dict(samples=[dict(id="a", landmarks=[[1, 2], [3]])]), r"landmark 1 is \[3\], expected 2 numbers"),
        (dict(samples=[dict(id="a", landmarks=dict(c=[1, 2]))]), r"landmarks \['c'\] are not in the schema"),
    ],
)
def test_broken_json_names_the_key(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        read_annotations(json_file(tmp_path, data), names=("a", "b"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(wieghts=[1]), "unknown key 'wieghts', did you mean 'weights'"),  # codespell:ignore
        (dict(gruop="p"), "unknown key 'gruop', did you mean 'group'"),  # codespell:ignore
        (dict(spliit="train"), "unknown key 'spliit', did you mean 'split'"),  # codespell:ignore
        (dict(visibilty=[1]), "unknown key 'visibilty', did you mean 'visibility'"),  # codespell:ignore
        (dict(Fold=1), "unknown key 'Fold', did you mean 'fold'"),
        (dict(img_path="x"), "'img_path' is a reserved name; write 'image'"),
        (dict(source="x"), "'source' is a reserved name"),
        (dict(id=None, image=None), "neither id nor image is given"),
        (dict(id=True), "id must be text or a number, got True"),
        (dict(id=["x"]), "id must be text or a number"),
        (dict(id="a\nb"), ".* contains a line end"),
        (dict(image=5), "'image' must be the name of a file, or null, got 5"),
        (dict(landmarks=[[True, 2], [3, 4]]), "landmark 0, x, must be a number, got True"),
        (dict(landmarks=[["1", 2], [3, 4]]), ".* must be a number, got '1'; write it without quotes"),
        (dict(landmarks=[1, 2]), "landmark 0 is 1, expected a list of 2 or 3 numbers"),
        (dict(landmarks=[[[1, 2], 3], [3, 4]]), "landmark 0, x, must be a number"),
        (dict(landmarks=[[10**400, 2], [3, 4]]), ".* is too large for a number"),
        (dict(landmarks="none"), "'landmarks' must be a list of points"),
        (dict(landmarks=True), "'landmarks' must be a list of points"),
        (dict(landmarks=[None]), "1 landmarks, but there are 2 names"),
        (
            dict(landmarks=dict(A=[1, 2])),
            r"landmarks \['A'\] are not in the schema \(did you mean 'a' for 'A'\?\)",
        ),
        (dict(group=["p"]), "group must be text or a number"),
        (dict(split=dict()), "split must be text or a number"),
        (dict(fold=False), "fold must be text or a number"),
        (dict(width=30), "'width' and 'height' must be given together"),
        (dict(width="30", height=20), "width must be a number, got '30'"),
        (dict(width=30.5, height=20), "width must be whole pixels, got 30.5"),
    ],
)
def test_a_sample_with_a_wrong_key_or_value_is_named(tmp_path, change, message):
    good = dict(id="x", image="x.png", landmarks=[[1, 2], [3, 4]], group="p", machine="own")
    (record,) = read_annotations(json_file(tmp_path, dict(samples=[good])), names=("a", "b")).records
    assert record["machine"] == "own"
    samples = [good, {**good, **change}]
    with pytest.raises(ValueError, match=r"a\.json, samples\[1\]: " + message):
        read_annotations(json_file(tmp_path, dict(samples=samples)), names=("a", "b"))


def test_json_in_utf_16_and_with_a_key_twice(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(dict(samples=[dict(id="ä", landmarks=[[1, 2]])])).encode("utf-16"))
    assert read_annotations(path).records[0]["sample_id"] == "ä"
    path.write_text('{"samples": [{"id": "a", "landmarks": {"a": [1, 2], "a": [3, 4]}}]}')
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON: an object has the key 'a' twice"):
        read_annotations(path, names=["a"])


def test_json_syntax_error_names_the_line(tmp_path):
    path = csv_file(tmp_path, '{\n"samples": [\n}', "a.json")
    with pytest.raises(ValueError, match=r"a\.json, line 3: not valid JSON"):
        read_annotations(path)


def test_unknown_kind_of_file(tmp_path):
    with pytest.raises(ValueError, match="annotation files end in"):
        read_annotations(csv_file(tmp_path, "", "a.xml"))


def test_depth_makes_the_size_of_a_volume(tmp_path):
    volume = dict(id="v", landmarks=[[1, 2, 3]], width=30, height=20, depth=10)
    image = dict(id="i", landmarks=[[1, 2]], width=30, height=20, depth=3)  # the channels, as VOC has it
    fish = dict(id="f", landmarks=[[1, 2, 3]], depth=12.5)  # of the water
    first, second, third = read_annotations(json_file(tmp_path, dict(samples=[volume, image, fish]))).records
    assert (first["ori_shape"], first.get("depth")) == ((10, 20, 30), None)
    assert (second["ori_shape"], second["depth"]) == ((20, 30), 3)
    assert (third.get("ori_shape"), third["depth"]) == (None, 12.5)
    with pytest.raises(ValueError, match=r"samples\[0\]: depth must be whole pixels, got 9.5"):
        read_annotations(json_file(tmp_path, dict(samples=[dict(volume, depth=9.5)])))
    text = "id,a_x,a_y,a_z,width,height,depth\nv,1,2,3,30,20,10\n"
    assert read_annotations(csv_file(tmp_path, text)).records[0]["ori_shape"] == (10, 20, 30)
    text = "id,a_x,a_y,width,height,depth\nv,1,2,30,20,10\n"
    (record,) = read_annotations(csv_file(tmp_path, text)).records
    assert (record["ori_shape"], record["depth"]) == ((20, 30), 10)


def test_images_of_one_name_have_their_folders_in_the_id(tmp_path):
    names = ["p1/lat.png", "p2/lat.png", "p2/front.png", "p3/lat.png"]
    samples = [dict(image=name, landmarks=[[1, 2]]) for name in names]
    samples[3]["id"] = "lat"
    (tmp_path / "a.json").write_text(json.dumps(dict(samples=samples)))
    records = read_annotations(tmp_path / "a.json").records
    assert [record["sample_id"] for record in records] == ["p1/lat", "p2/lat", "front", "lat"]
