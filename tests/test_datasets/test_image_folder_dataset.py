"""The images of a folder that nobody has annotated."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import ImageFolderDataset
from test_datasets.six_cases import SCHEMA

LABELLED = dict(type="LandmarkDataset", ann_file="all.json", image_dir="images", split="train")


def test_files_with_a_row_and_broken_ones_are_left_out(root, caplog):
    folder = root / "images"
    (folder / "more").mkdir()
    for name in ("more/case0.png", "new.png"):
        cv2.imwrite(str(folder / name), np.zeros((20, 30), np.uint8))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    # Those of another split have a row, too.
    dataset = ImageFolderDataset("images", data_root=str(root), labelled=dict(LABELLED, data_root=str(root)))
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [record["sample_id"] for record in records] == ["new", "more/case0"]
    assert dataset.unlabelled
    assert np.isnan(records[1]["landmarks"]).all()
    assert dataset.metainfo["landmark_names"] == list(SCHEMA["landmarks"])
    assert len(ImageFolderDataset("images", data_root=str(root), schema=SCHEMA)) == 8


def test_pictures_of_results_are_not_labelled(root):
    for name in (
        "images/out/overlays/case0.png",
        "images/my/run/02_student/labels.png",
        "images/run/new.png",
    ):
        (root / name).parent.mkdir(parents=True)
        cv2.imwrite(str(root / name), np.zeros((20, 30), np.uint8))
    for name in ("out/journal.jsonl", "my/plan.json", "my/config.py"):
        (root / "images" / name).write_text("")
    dataset = ImageFolderDataset("images", data_root=str(root), labelled=dict(LABELLED, data_root=str(root)))
    assert [dataset.get_data_info(i)["sample_id"] for i in range(len(dataset))] == ["run/new"]


def test_what_is_wrong_with_a_folder_is_said(root):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere'"):
        ImageFolderDataset("nowhere", data_root=str(root), schema=SCHEMA)
    labelled = dict(LABELLED, data_root=str(root))
    with pytest.raises(ValueError, match=r"holds no image without annotation; 6 are annotated"):
        ImageFolderDataset("images", data_root=str(root), labelled=labelled)
    with pytest.raises(ValueError, match=r"give schema="):
        ImageFolderDataset("images", data_root=str(root))


def test_every_image_has_a_name_of_its_own(root, caplog):
    (root / "new" / "a").mkdir(parents=True)
    (root / "new" / "b").mkdir()
    for name in ("a/1.png", "b/1.png", "b/1.jpg", "b/1.png.png", "case3.png", "2.png", " x .png"):
        cv2.imwrite(str(root / "new" / name), np.zeros((20, 30), np.uint8))
    np.save(root / "new" / "volume.npy", np.zeros((4, 5, 6), np.uint8))
    first = dict(LABELLED, data_root=str(root), indices=2)
    # The annotation of the second one, which is that of the first, has a row for case3, too.
    both = dict(type="ConcatDataset", datasets=[first, dict(first, indices=[3])])
    dataset = ImageFolderDataset("new", data_root=str(root), labelled=both, serialize_data=False)
    ids = [dataset.get_data_info(i)["sample_id"] for i in range(len(dataset))]
    assert ids == ["_x_", "2", "new/case3", "a/1", "b/1.jpg", "b/1.png", "b/1.png.png"]
    assert dataset.annotated == 0
    (why,) = dataset.unusable
    assert why.endswith("volume.npy has 3 dimensions, the landmarks have 2")
    folder = ImageFolderDataset("images", data_root=str(root), schema=SCHEMA, serialize_data=False)
    assert [folder.get_data_info(i)["sample_id"] for i in range(2)] == ["case0", "case1"]


def test_strange_names_do_not_keep_a_folder_from_being_used(root):
    (root / "new" / "new").mkdir(parents=True)
    names = ("1.png", "1.jpg", "1.png.png", "case3.png", "new/case3.png", "b .png", "b_.png", "c\u200b.png")
    for name in names:
        cv2.imwrite(str(root / "new" / name), np.zeros((20, 30), np.uint8))
    labelled = dict(LABELLED, data_root=str(root))
    dataset = ImageFolderDataset("new", data_root=str(root), labelled=labelled, serialize_data=False)
    ids = [dataset.get_data_info(i)["sample_id"] for i in range(len(dataset))]
    assert ids == ["1.jpg", "1.png", "1.png.png", "b_", "new/b_", "new/new/case3", "c_", "new/case3"]
    assert not dataset.unusable


def test_images_of_all_annotations_are_left_out(root, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_others(root, other)
    labelled = [dict(LABELLED, data_root=str(root)), dict(LABELLED, data_root=str(other), image_dir="")]
    both = dict(type="ConcatDataset", datasets=labelled)
    with pytest.raises(ValueError, match=r"no image without annotation; 1 are annotated; 1 are unusable"):
        ImageFolderDataset(str(other), schema=SCHEMA, labelled=both)


def write_others(root, folder):
    """Write one annotated image and a volume that is none."""
    content = json.loads((root / "all.json").read_text(encoding="utf-8"))
    content["samples"] = content["samples"][:1]
    (folder / "all.json").write_text(json.dumps(content), encoding="utf-8")
    cv2.imwrite(str(folder / "case0.png"), np.zeros((20, 30), np.uint8))
    np.save(folder / "volume.npy", np.zeros((4, 5, 6), np.uint8))
