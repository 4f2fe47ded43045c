"""COCO keypoints, on tiny copies."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets.releases import CocoKeypoints
from test_datasets.test_releases.release_files import ids, image, text


def coco(root, **change):
    for name in "abc":
        image(root / "images" / f"{name}.png")
    data = dict(
        images=[
            dict(id=7, file_name="a.png", width=20, height=24, spacing=0.2, group="p"),
            dict(id=8, file_name="b.png"),
            dict(id=9, file_name="c.png"),
        ],
        annotations=[
            dict(image_id=8, category_id=1, keypoints=[1, 2, 2, 3, 4, 1]),
            dict(image_id=7, category_id=1, keypoints=[0, 0, 0, 5, 6, 2]),
            dict(image_id=7, category_id=2),
        ],
        categories=[
            dict(id=1, name="hand", keypoints=["tip", "base"], skeleton=[[1, 2]]),
            dict(id=2, name="box"),
        ],
    )
    data.update(change)
    text(root / "coco.json", json.dumps(data))
    return dict(ann_file="coco.json", data_root=str(root), image_dir="images")


def test_coco(tmp_path):
    dataset = CocoKeypoints(**coco(tmp_path))
    assert ids(dataset) == ["7", "8"]
    assert dataset.schema.landmarks == ("tip", "base")
    assert dataset.schema.links == ((0, 1),)
    first, second = dataset
    np.testing.assert_array_equal(first["landmarks"], [[np.nan, np.nan], [5, 6]])
    np.testing.assert_array_equal(second["landmarks"], [[1, 2], [3, 4]])
    assert (first["spacing"], first["group"], first["ori_shape"]) == ((0.2, 0.2), "p", (24, 20))
    assert second["spacing"] is None
    assert np.isnan(CocoKeypoints(**coco(tmp_path), keep_unannotated=True)[2]["landmarks"]).all()


def note(**keys):
    """A file with one annotation."""
    return dict(annotations=[dict(dict(image_id=7, category_id=1), **keys)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            dict(annotations=[dict(image_id=1, category_id=1, keypoints=[])]),
            r"annotations\[0\]: image_id 1 is not",
        ),
        (
            dict(annotations=[dict(image_id=7, category_id=1, keypoints=[1, 2])]),
            r"\[0\]: 'keypoints' has 2 numbers",
        ),
        (
            dict(annotations=[dict(image_id=7, category_id=1, keypoints=[1, 2, 3, 4, 5, 6])]),
            "visibility must be",
        ),
        (
            dict(annotations=[dict(image_id=7, category_id=1, keypoints=[0] * 6)] * 2),
            r"\[1\]: a second annotation",
        ),
        (dict(categories=[]), "name one category with keypoints"),
        (dict(images=5), "'images' must be a list of objects"),
        (dict(annotations=[5]), "'annotations' must be a list of objects"),
        (note(category_id="1", keypoints=[0] * 6), r"\[0\]: category_id '1' is not"),
        (note(category_id=None, keypoints=[0] * 6), r"\[0\]: category_id must be text or a number"),
        (note(image_id=[7]), r"\[0\]: image_id must be text or a number"),
        (note(), "'keypoints' has 0 numbers"),
        (note(keypoints="no"), "'keypoints' must be a list"),
        (note(keypoints=[True, 1, 2, 3, 4, 2]), r"\[0\]: a keypoint must be a number, got True"),
        (note(keypoints=[float("nan"), 1, 2, 3, 4, 2]), r"\[0\]: a visible keypoint is not finite"),
        (
            note(num_keypoints=0, keypoints=[1, 1, 2, 3, 4, 0]),
            r"\[0\]: num_keypoints is 0, but 1 keypoints have a visibility",
        ),
        (note(keypoint=[0] * 6), r"\[0\]: unknown key 'keypoint', did you mean 'keypoints'"),
        (dict(images=[dict(id=7, file_name="a.png", Group=1)], annotations=[]), "did you mean 'group'"),
        (dict(images=[dict(id=7, file_name=5)], annotations=[]), "an image needs 'id' and 'file_name'"),
        (
            dict(categories=[dict(id=1, name="k", keypoints=["a", "b"], skeleton=5)]),
            "'skeleton' must be a list",
        ),
        (
            dict(categories=[dict(id=1, name="k", keypoints=["a", "b"], skeleton=[["a", "c"]])]),
            r"coco\.json, category 'k': schema 'k': links names \['c'\]",
        ),
        (dict(annotations=[]), "all 3 images have no keypoints of category .*keep_unannotated=True"),
    ],
)
def test_coco_bad_input(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        CocoKeypoints(**coco(tmp_path, **change), keep_unannotated="images" in change)
    assert "coco.json" in str(error.value)


@pytest.mark.parametrize(
    ("skeleton", "links"),
    [
        (None, ()),
        ([], ()),
        ([[1, 2]], ((0, 1),)),
        ([[0, 1]], ((0, 1),)),
        ([["base", "tip"]], ((1, 0),)),
    ],
)
def test_skeletons_as_programs_write_them(tmp_path, skeleton, links):
    categories = [
        dict(id=1, name="hand", keypoints=["tip", "base"], skeleton=skeleton),
        dict(id=2, name="box"),
    ]
    assert CocoKeypoints(**coco(tmp_path, categories=categories)).schema.links == links


@pytest.mark.parametrize(
    "second",
    [
        dict(keypoints=[], num_keypoints=0),
        dict(keypoints=[]),
        dict(keypoints=None, num_keypoints=0),
        dict(num_keypoints=0),
        dict(keypoints=[0] * 6, num_keypoints=0),
        dict(keypoints=[0] * 6, iscrowd=1),
        dict(keypoints=[5, 5, 2, 6, 6, 2], iscrowd=1, segmentation={}),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_annotations_that_annotate_nothing(tmp_path, second, order):
    good = dict(image_id=7, category_id=1, keypoints=[1, 2, 2, 3, 4, 1], num_keypoints=2)
    notes = [good, dict(second, image_id=7, category_id=1), dict(second, image_id=8, category_id=1)]
    dataset = CocoKeypoints(**coco(tmp_path, annotations=notes[::order]))
    assert ids(dataset) == ["7"]
    np.testing.assert_array_equal(dataset[0]["landmarks"], [[1, 2], [3, 4]])


def test_images_left_out_are_counted(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        "mmlandmark.datasets.releases.coco_keypoints.print_log", lambda text, *_: said.append(text)
    )
    notes = [dict(image_id=8, category_id=1, keypoints=[1, 2, 2, 3, 4, 1]), dict(image_id=7, category_id=2)]
    assert ids(CocoKeypoints(**coco(tmp_path, annotations=notes))) == ["8"]
    assert len(said) == 1
    assert "coco.json: 2 of 3 images have no keypoints of category 'hand'" in said[0]
    assert "(1 annotations are of 'box')" in said[0]
