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
        (dict(annotations=[]), "no records are left"),
    ],
)
def test_coco_bad_input(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        CocoKeypoints(**coco(tmp_path, **change))
