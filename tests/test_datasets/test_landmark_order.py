"""Landmarks are matched by name, never by position, whichever reader and whichever order."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.landmark_order import in_order, landmark_order, reorder
from mmlandmark.datasets.releases import Aariz, CocoKeypoints, DigitalHandAtlas, Isbi2015Cephalogram
from mmlandmark.structures import LandmarkSchema
from test_datasets.test_releases.test_aariz import aariz
from test_datasets.test_releases.test_isbi2015_cephalogram import isbi

NAMES = ["sella", "nasion", "left eye", "Right-Eye", "menton"]
PLACES = {name: [10.0 * i + 1, 5.0 * i + 2] for i, name in enumerate(NAMES)}


def write(folder, kind, order):
    """Write one sample with its points in this order; return the dataset class and its annotation file."""
    points = [PLACES[name] for name in order]
    if kind == "coco":
        flat = [v for point in points for v in (*point, 2)]
        data = dict(
            images=[dict(id=1, file_name="a.png")],
            annotations=[dict(image_id=1, category_id=1, keypoints=flat)],
            categories=[dict(id=1, name="face", keypoints=order)],
        )
    elif kind == "csv":
        with open(folder / "all.csv", "w", newline="") as file:
            csv.writer(file).writerows(
                [
                    ["image", *(f"{n}_{a}" for n in order for a in "xy")],
                    ["a.png", *(v for p in points for v in p)],
                ]
            )
        return LandmarkDataset, "all.csv"
    else:
        marks = dict(zip(order, points, strict=True)) if kind == "json object" else points
        sample = dict(id="a", landmarks=marks, weights=[p[0] for p in points], by_annotator=[marks, marks])
        data = dict(schema=dict(name="file", landmarks=order), samples=[sample])
    (folder / "all.json").write_text(json.dumps(data))
    return CocoKeypoints if kind == "coco" else LandmarkDataset, "all.json"


@pytest.mark.parametrize("kind", ["json list", "json object", "csv", "coco"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_reader_brings_names_into_the_order_that_is_asked_for(kind, tmp_path_factory, data):
    order, wanted = (data.draw(st.permutations(NAMES)) for _ in range(2))
    folder = tmp_path_factory.mktemp("names")
    cls, file = write(folder, kind, order)
    schema = dict(name="asked", landmarks=wanted)
    dataset = cls(file, str(folder), schema=schema, missing_images="keep", serialize_data=False)
    record = dataset.get_data_info(0)
    expected = np.float32([PLACES[name] for name in wanted])
    np.testing.assert_array_equal(record["landmarks"], expected)
    if kind.startswith("json"):
        np.testing.assert_array_equal(record["weights"], expected[:, 0])
        np.testing.assert_array_equal(record["by_annotator"], [expected, expected])


@pytest.mark.parametrize("kind", ["json list", "json object", "csv", "coco"])
def test_names_that_are_not_asked_for_are_refused_with_those_near(kind, tmp_path):
    cls, file = write(tmp_path, kind, NAMES)
    wanted = ["sella", "nasion", "left_eye", "right eye", "menton"]
    message = (
        r"all\..*landmarks \['left eye', 'Right-Eye'\] are not in the schema \(did you mean 'left_eye' for"
    )
    with pytest.raises(ValueError, match=message):
        cls(file, str(tmp_path), schema=dict(name="asked", landmarks=wanted), missing_images="keep")


@pytest.mark.parametrize("kind", ["json list", "json object", "csv", "coco"])
def test_what_the_file_does_not_have_is_missing(kind, tmp_path):
    cls, file = write(tmp_path, kind, NAMES)
    schema = dict(name="asked", landmarks=[*NAMES, "gonion"])
    points = cls(file, str(tmp_path), schema=schema, missing_images="keep").get_data_info(0)["landmarks"]
    np.testing.assert_array_equal(points, np.float32([*PLACES.values(), [np.nan, np.nan]]))


def test_columns_of_a_schema_whose_names_are_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("image,1_x,1_y,2_x,2_y,3_x,3_y\na.png,1,1,2,2,3,3\n")
    schema = dict(name="numbers", landmarks=["3", "1", "2"])
    record = LandmarkDataset("a.csv", str(tmp_path), schema=schema, missing_images="keep").get_data_info(0)
    assert record["landmarks"][:, 0].tolist() == [3, 1, 2]


@pytest.mark.parametrize("cls", [Isbi2015Cephalogram, Aariz])
def test_releases_follow_a_schema_that_is_given(cls, tmp_path):
    root = {Isbi2015Cephalogram: isbi, Aariz: aariz}[cls](tmp_path)
    own = LandmarkSchema.load(cls.SCHEMA)
    plain, turned = (
        cls(data_root=root, split="train", schema=dict(name="asked", landmarks=names))[0]
        for names in (own.landmarks, own.landmarks[::-1])
    )
    np.testing.assert_array_equal(turned["landmarks"], plain["landmarks"][::-1])
    np.testing.assert_array_equal(turned["by_annotator"], plain["by_annotator"][:, ::-1])
    with pytest.raises(
        ValueError, match=rf"{cls.__name__}, schema '{own.name}': landmarks \['{own.landmarks[0]}'"
    ):
        cls(data_root=root, split="train", schema=dict(name="other", landmarks=own.landmarks[1:]))


def test_a_hand_atlas_with_a_header_is_read_by_name(tmp_path):
    names = LandmarkSchema.load("hand_atlas").landmarks[::-1]
    header = ",".join(f"{name}_{axis}" for name in names for axis in "xy")
    (tmp_path / "all.csv").write_text(f"id,{header}\n3142,{','.join(map(str, range(74)))}\n")
    record = DigitalHandAtlas(data_root=str(tmp_path), missing_images="keep").get_data_info(0)
    np.testing.assert_array_equal(record["landmarks"], np.arange(74).reshape(37, 2)[::-1])


def test_an_aariz_symbol_that_is_unknown_is_refused(tmp_path):
    symbols = ["Nose", *LandmarkSchema.load("aariz").landmarks[1:]]
    root = aariz(tmp_path)
    for path in tmp_path.rglob("ta1.json"):
        content = json.loads(path.read_text())
        for mark, symbol in zip(content.get("landmarks", ()), symbols, strict=False):
            mark["symbol"] = symbol
        path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"ta1\.json: landmarks \['nose'\] are not in the schema"):
        Aariz(data_root=root, split="train")


def test_order_and_records():
    order = landmark_order(["b", "a"], ["a", "c", "b"], "here")
    assert order == [1, -1, 0]
    record = dict(landmarks=None, visibility=[1, -1], source="s")
    assert reorder(record, order, 2) == dict(landmarks=None, visibility=[-1, 0, 1], source="s")
    with pytest.raises(ValueError, match="s: weights has 3 entries, but the file names 2 landmarks"):
        reorder(dict(weights=[1, 2, 3], source="s"), order, 2)
    records = [record]
    assert in_order(records, ("a", "b"), ["a", "b"], "here") is records


def test_a_train_file_and_a_test_file_in_other_order_agree_under_one_schema(tmp_path):
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((60, 60), np.uint8))
    (tmp_path / "train.csv").write_text("image,p_x,p_y,q_x,q_y\na.png,1,2,3,4\n")
    (tmp_path / "test.csv").write_text("image,q_x,q_y,p_x,p_y\nb.png,3,4,1,2\n")
    schema = dict(name="two", landmarks=["p", "q"])
    one, two = (LandmarkDataset(f"{n}.csv", str(tmp_path), schema=schema)[0] for n in ("train", "test"))
    np.testing.assert_array_equal(one["landmarks"], two["landmarks"])
