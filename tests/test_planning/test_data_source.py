"""Finding annotation and images, given one path."""

from __future__ import annotations

import json
import shutil

import pytest

from mmlandmark.planning import find_data
from test_planning.kites import NAMES, write_kites


@pytest.mark.parametrize(
    ("kind", "found", "dataset", "y"),
    [
        ("csv", "table", "LandmarkDataset", "unknown"),
        ("json", "json", "LandmarkDataset", "top"),
        ("coco", "COCO", "CocoKeypoints", "top"),
        ("tps", "TPS", "TpsFile", "bottom"),
    ],
)
def test_a_folder_stands_for_its_only_annotation_and_the_folder_of_its_images(
    tmp_path, kind, found, dataset, y
):
    path = write_kites(tmp_path / "kites", kind)
    (tmp_path / "kites" / "notes.txt").write_text("not a table")
    (tmp_path / "kites" / "schema.json").write_text(json.dumps(dict(name="kite", landmarks=NAMES)))
    for given in (path, path.parent):
        source = find_data(given)
        assert (source.kind, source.ann_file, source.image_dir) == (found, path, "photos")
        assert source.config()["type"] == dataset
        assert source.y_convention == y
        assert len(source.build(y_up=False)) == 16


def test_images_beside_the_annotation_or_elsewhere(tmp_path):
    path = write_kites(tmp_path / "kites")
    shutil.copytree(path.parent / "photos", path.parent, dirs_exist_ok=True)
    assert find_data(path).image_dir == ""
    moved = tmp_path / "elsewhere"
    shutil.copytree(path.parent / "photos", moved)
    source = find_data(path, moved)
    assert source.image_dir == str(moved)
    assert source.build().get_data_info(0)["img_path"] == str(moved / "kite00.jpg")
    assert find_data(path, path.parent / "photos").image_dir == "photos"


def test_errors_name_the_folder_and_the_cure(tmp_path):
    path = write_kites(tmp_path / "kites")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; give an annotation file or"):
        find_data(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="there is no annotation file in it"):
        find_data(path.parent / "photos")
    with pytest.raises(ValueError, match=r"kite00.jpg: this is no annotation file"):
        find_data(path.parent / "photos" / "kite00.jpg")
    with pytest.raises(FileNotFoundError, match=r"--images .*nothing: there is no such folder"):
        find_data(path, tmp_path / "nothing")
    shutil.copy(path, path.parent / "second.csv")
    with pytest.raises(ValueError, match=r"2 annotation files, \['points.csv', 'second.csv'\]; name one"):
        find_data(path.parent)
    (path.parent / "photos").rename(tmp_path / "photos")
    with pytest.raises(FileNotFoundError, match=r"none of its images exists beside it.*--images"):
        find_data(path)
