"""Finding annotation and images, given one path."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

from mmlandmark.planning import find_data
from mmlandmark.testing.volume_files import write_dicom_series
from test_planning.kites import NAMES, draw_kites, write_kites


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


def test_images_in_a_folder_for_each_patient(tmp_path):
    (tmp_path / "labels").mkdir()
    rows = []
    for patient in ("ä 1", "ä 2"):
        folder = tmp_path / "images" / "site" / patient
        folder.mkdir(parents=True)
        (folder / "lat.PNG").write_bytes(cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes())
        rows.append(f"site/{patient}/lat.PNG,1,2")
    (tmp_path / "all.csv").write_text("\n".join(["image,a_x,a_y", *rows]), encoding="utf-8")
    source = find_data(tmp_path)
    assert source.image_dir == "images"
    assert [one["sample_id"] for one in source.build()] == ["site/ä 1/lat", "site/ä 2/lat"]


def test_an_image_in_a_folder_that_is_not_named_is_told(tmp_path):
    folder = tmp_path / "images" / "1"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "lat.png"), np.zeros((9, 9), np.uint8))
    (tmp_path / "all.csv").write_text("image,a_x,a_y\nother.png,1,2\nLat.png,1,2\n")
    message = r"none .* there; 'lat.png' is in 'images.1': write folders into .*, else give their folder by"
    with pytest.raises(FileNotFoundError, match=message):
        find_data(tmp_path)
    assert find_data(tmp_path, folder).image_dir == "images/1"


def test_markups_of_slicer_and_a_file_of_cvat(tmp_path):
    images, points = draw_kites(6)
    for n, (image, shape) in enumerate(zip(images, points, strict=True)):
        cv2.imwrite(str(tmp_path / f"{n}.png"), image)
        marks = [dict(label=name, position=[*place, 0.0]) for name, place in zip(NAMES, shape, strict=True)]
        markups = dict(type="Fiducial", coordinateSystem="LPS", controlPoints=marks)
        (tmp_path / f"{n}.mrk.json").write_text(json.dumps(dict(markups=[markups])))
    source = find_data(tmp_path)
    assert (source.kind, source.ann_file, source.image_dir) == ("Slicer", tmp_path, "")
    assert source.config() == dict(type="SlicerMarkups", data_root=str(tmp_path))
    assert np.allclose(source.build().get_data_info(2)["landmarks"], points[2], atol=1e-3)

    marked = '<points label="nose" outside="0" points="10.5,20.5"/>'
    lines = [f'<image id="{n}" name="{n}.png" width="64" height="48">{marked}</image>' for n in range(2)]
    (tmp_path / "job.xml").write_text(f"<annotations>{''.join(lines)}</annotations>")
    source = find_data(tmp_path)
    assert (source.kind, source.y_convention, source.config()["type"]) == ("CVAT", "top", "CvatImages")
    assert source.build().get_data_info(0)["landmarks"].tolist() == [[10.0, 20.0]]


def test_folders_of_slices_are_images(tmp_path):
    pytest.importorskip("pydicom")
    write_dicom_series(tmp_path / "ct" / "one", np.zeros((3, 4, 5), np.uint8), np.eye(4))
    samples = [dict(image="one", landmarks=[[1, 2, 1]])]
    (tmp_path / "points.json").write_text(
        json.dumps(dict(schema=dict(name="a", landmarks=["a"], dims=3), samples=samples))
    )
    source = find_data(tmp_path)
    assert source.image_dir == "ct"
    assert source.build().get_data_info(0)["img_path"] == str(tmp_path / "ct" / "one")


def test_a_folder_of_nnlandmark(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    points = {}
    for n in range(3):
        np.save(tmp_path / "imagesTr" / f"case{n}_0000.npy", np.zeros((6, 7, 8), np.uint8))
        points[f"case{n}"] = dict(a=[1, 2, 3], b=[4 + 0.5 * n, 2, 1])
    (tmp_path / "all_landmarks_voxel.json").write_text(json.dumps(points))
    (tmp_path / "dataset.json").write_text(json.dumps(dict(numTraining=3)))
    source = find_data(tmp_path)
    assert source.config() == dict(type="NnLandmark", data_root=str(tmp_path))
    dataset = source.build()
    assert len(dataset) == 3
    assert dataset.get_data_info(2)["landmarks"].tolist() == [[1.0, 2.0, 3.0], [5.0, 2.0, 1.0]]


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
