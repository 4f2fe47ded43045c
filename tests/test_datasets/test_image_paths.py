"""Images are found under the names that annotations give them, and never outside of the data."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.image_paths import ImageFinder
from mmlandmark.datasets.releases import (
    CocoKeypoints,
    CvatImages,
    DigitalHandAtlas,
    NnLandmark,
    SlicerMarkups,
    SpineAasce2019,
    TpsFile,
)
from mmlandmark.structures import LandmarkSchema
from test_datasets.test_releases.test_digital_hand_atlas import hands
from test_datasets.test_releases.test_nn_landmark import nnlandmark
from test_datasets.test_releases.test_spine_aasce2019 import spine

READERS = ["json", "csv", "coco", "tps", "cvat"]


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((60, 50), np.uint8))


def dataset(kind, folder, names, **kwargs):
    """Write an annotation file of this kind that names these images; return its dataset."""
    if kind == "json":
        samples = [dict(id=str(i), image=name, landmarks=[[1, 2]]) for i, name in enumerate(names)]
        text, cls = json.dumps(dict(samples=samples)), LandmarkDataset
    elif kind == "csv":
        text, cls = (
            "id,image,a_x,a_y\n" + "".join(f"{i},{n},1,2\n" for i, n in enumerate(names)),
            LandmarkDataset,
        )
    elif kind == "coco":
        data = dict(
            images=[dict(id=i, file_name=n) for i, n in enumerate(names)],
            annotations=[dict(image_id=i, category_id=1, keypoints=[1, 2, 2]) for i in range(len(names))],
            categories=[dict(id=1, name="k", keypoints=["a"])],
        )
        text, cls = json.dumps(data), CocoKeypoints
    elif kind == "cvat":
        points = '<points label="a" points="1.5,2.5"/>'
        images = "".join(f'<image id="{i}" name="{n}">{points}</image>' for i, n in enumerate(names))
        text, cls = f"<annotations>{images}</annotations>", CvatImages
    else:
        text, cls = "".join(f"LM=1\n1 2\nIMAGE={n}\n" for n in names), TpsFile
    suffix = dict(csv="csv", tps="tps", cvat="xml").get(kind, "json")
    (folder / f"all.{suffix}").write_text(text)
    return cls(f"all.{suffix}", str(folder), **kwargs)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("there", "name"),
    [
        ("a/001.png", "a\\001.png"),
        ("a/001.png", "a/001.png"),
        ("a/001.png", "C:\\Users\\x\\a\\001.png"),
        ("a/001.png", "C:/Users/x/a/001.png"),
        ("a/001.png", "\\\\server\\share\\a\\001.png"),
        ("001.png", "D:\\scans\\001.png"),
        ("001.jpg", "001.png"),
        ("001.PNG", "001.png"),
        ("001.jpg", "001.JPG"),
        ("a/001.JPG", "a\\001.png"),
    ],
)
def test_names_of_another_machine_are_found(kind, there, name, tmp_path):
    image(tmp_path / there)
    found = dataset(kind, tmp_path, [name])
    assert found[0]["img_path"] == str(tmp_path / there)
    with_folders = str(PurePosixPath(name.replace("\\", "/")).with_suffix(""))
    known = dict(json="0", csv="0", coco="0", tps="001", cvat=with_folders)  # ids of CVAT are names
    assert found[0]["sample_id"] == known[kind]


def test_it_is_said_once_what_is_found_instead(tmp_path):
    finder = ImageFinder([str(tmp_path)])
    for i in range(3):
        image(tmp_path / f"{i}.jpg")
    for i in range(3):
        assert finder.find(str(tmp_path / f"{i}.png"), f"{i}.png") == str(tmp_path / f"{i}.jpg")
    assert finder.summary().startswith("3 images have another name than in the annotations, e.g. ")
    assert ImageFinder([str(tmp_path)]).summary() is None


@pytest.mark.parametrize("kind", READERS)
def test_two_files_that_could_be_meant(kind, tmp_path):
    image(tmp_path / "001.jpg")
    image(tmp_path / "001.bmp")
    with pytest.raises(
        ValueError, match=r"all\..*001\.png' does not exist, and \['001\.bmp', '001\.jpg'\] all resemble"
    ):
        dataset(kind, tmp_path, ["001.png"])


def test_one_file_is_not_taken_for_two_images(tmp_path):
    image(tmp_path / "001.png")
    with pytest.raises(
        ValueError, match=r"all\.json.*images .* do not exist; only .*001\.png. resembles them"
    ):
        dataset("json", tmp_path, ["C:\\a\\001.png", "C:\\b\\001.png"])


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("name", ["../out/x.png", "a/../../out/x.png", "{out}/x.png", "..\\out\\x.png"])
def test_an_image_outside_of_the_data_needs_a_word(kind, name, tmp_path):
    (tmp_path / "data").mkdir()
    image(tmp_path / "out" / "x.png")
    name = name.format(out=tmp_path / "out")
    with pytest.raises(ValueError, match=r"all\..*is outside of the data folder.*set outside_root=True"):
        dataset(kind, tmp_path / "data", [name])
    found = dataset(kind, tmp_path / "data", [name], outside_root=True)
    assert os.path.samefile(found[0]["img_path"], tmp_path / "out" / "x.png")


def test_whole_paths_links_and_folders_of_the_user_are_no_way_out(tmp_path):
    image(tmp_path / "disk" / "images" / "x.png")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for name in (str(tmp_path / "disk" / "images" / "x.png"), str(tmp_path / "link" / "images" / "x.png")):
        for root in ("disk", "link"):
            assert len(dataset("json", tmp_path / root, [name])) == 1
    # A link inside of the data was put there by its owner.
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(tmp_path / "disk" / "images")
    assert len(dataset("json", tmp_path / "data", ["images/x.png"])) == 1
    # A folder of images that the config names is one of the data's.
    assert (
        len(dataset("json", tmp_path / "data", ["x.png"], image_dir=str(tmp_path / "disk" / "images"))) == 1
    )
    # What is checked is what is opened: not the parent of where a link leads.
    image(tmp_path / "disk" / "secret.png")
    with pytest.raises(FileNotFoundError, match=r"secret\.png"):
        dataset("json", tmp_path / "data", ["images/../secret.png"])
    with pytest.raises(FileNotFoundError, match="~"):
        dataset("json", tmp_path / "data", ["~/x.png"])


def test_a_list_of_file_names_does_not_lead_out_either(tmp_path):
    root = spine(tmp_path / "data", splits=("training",))
    names = tmp_path / "data" / "labels" / "training" / "filenames.csv"
    names.write_text("\n".join(["../../../x.jpg", *names.read_text().splitlines()[1:]]))
    with pytest.raises(ValueError, match=r"filenames\.csv, row 1: image '\.\./.*x\.jpg' is outside"):
        SpineAasce2019(data_root=root)


def test_ids_of_cases_do_not_lead_out_either(tmp_path):
    hands(tmp_path / "data", "images", "png")
    image(tmp_path / "out" / "x.jpg")
    table = tmp_path / "data" / "setup" / "all.csv"
    bare = table.read_text()
    # Without a header the first cell may be a file name, of which folders and suffix do not count.
    table.write_text(bare.replace("3142,", "../../out/x.jpg,"))
    for free in (False, True):
        with pytest.raises(FileNotFoundError, match=r"first '.*/data/images/x\.jpg'.*line 1: sample 'x'"):
            DigitalHandAtlas(data_root=str(tmp_path / "data"), outside_root=free)
    # An id beside an image is kept as it is, and names the file.
    names = LandmarkSchema.load("hand_atlas").landmarks
    header = ",".join(["id", "image", *(f"{name}_{axis}" for name in names for axis in "xy")])
    rows = [row.replace(",", ",none.jpg,", 1) for row in bare.replace("3142,", "../../out/x,").splitlines()]
    table.write_text("\n".join([header, *rows]))
    with pytest.raises(ValueError, match=r"all\.csv, line 2: image '\.\./\.\./out/x\.jpg' is outside"):
        DigitalHandAtlas(data_root=str(tmp_path / "data"))
    found = DigitalHandAtlas(data_root=str(tmp_path / "data"), outside_root=True).get_data_info(0)
    assert os.path.samefile(found["img_path"], tmp_path / "out" / "x.jpg")


def test_keys_of_a_file_do_not_lead_out_either(tmp_path):
    pytest.importorskip("nibabel")
    nnlandmark(tmp_path / "data")
    (tmp_path / "out").mkdir()
    shutil.copy(tmp_path / "data" / "imagesTr" / "one_0000.nii.gz", tmp_path / "out" / "x_0000.nii.gz")
    points = tmp_path / "data" / "all_landmarks_voxel.json"
    points.write_text(points.read_text().replace('"one"', '"../../out/x"'))
    with pytest.raises(ValueError, match=r"all_landmarks_voxel\.json, .*x_0000\.nii\.gz' is outside"):
        NnLandmark(data_root=str(tmp_path / "data"))
    assert len(NnLandmark(data_root=str(tmp_path / "data"), outside_root=True)) == 3


def test_markups_name_no_image(tmp_path):
    image(tmp_path / "out" / "x.png")
    image(tmp_path / "data" / "a.png")
    point = dict(label="p", position=[1, 2, 0], positionStatus="defined", associatedNodeID="../out/x.png")
    markups = dict(type="Fiducial", coordinateSystem="LPS", controlPoints=[point], url="../out/x.png")
    (tmp_path / "data" / "a.mrk.json").write_text(json.dumps(dict(markups=[markups])))
    data = SlicerMarkups(data_root=str(tmp_path / "data"))
    assert [record["img_path"] for record in map(data.get_data_info, range(len(data)))] == [
        str(tmp_path / "data" / "a.png")
    ]


def test_names_that_are_none(tmp_path):
    with pytest.raises(ValueError, match=r"all\.json.*is not a valid file name"):
        dataset("json", tmp_path, ["a\0b.png"])
    with pytest.raises(FileNotFoundError, match=r"all\.json, samples\[0\]: sample '0'"):
        dataset("json", tmp_path, ["C:\\"])
