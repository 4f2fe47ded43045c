"""Samples, patients and images that occur twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset, ShardedDataset
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.releases import Isbi2015Cephalogram
from mmlandmark.testing.volume_files import write_dicom_series, write_itk
from mmlandmark.visualization.check_pictures import draw_check_pictures
from test_datasets.ladders import ladder, ladder_dataset
from test_datasets.test_shards import packed_data


def test_parts_of_a_concatenation_are_one_split(tmp_path):
    data = ladder_dataset(tmp_path / "t", ladder())
    report = check_dataset({"train[0]": data, "train[1]": data})
    assert not [check for check in report["summary"] if "leak" in check]
    report = check_dataset(dict(val=data, test=data))
    assert {f["severity"] for f in report["findings"] if "leak" in f["check"]} == {"warning"}


def test_leaks_between_splits(tmp_path):
    train = ladder_dataset(tmp_path / "a", ladder(12, 0), group=[f"p{n}" for n in range(12)])
    test = ladder_dataset(tmp_path / "b", ladder(12, 1), group=[f"p{n + 11}" for n in range(12)])
    (tmp_path / "b" / "b5.png").write_bytes((tmp_path / "a" / "a2.png").read_bytes())
    report = check_dataset(dict(train=train, test=test))
    # Images of one number are equal by construction, so that all of these leak, and b5 equals a2 instead.
    leaks = {(f["check"], f["sample_id"]) for f in report["findings"] if f["check"] == "group leak"}
    assert leaks == {("group leak", "a11"), ("group leak", "b0")}
    images = {f["sample_id"] for f in report["findings"] if f["check"] == "image leak"}
    assert {"a2", "b5"} <= images
    assert "a5" not in images
    assert {f["severity"] for f in report["findings"] if "leak" in f["check"]} == {"error"}


def volumes(folder, write, equal):
    """Return two splits of two volumes in folders of their own; the last is equal to the first, or not."""
    rng, parts = np.random.default_rng(0), {}
    arrays = list(rng.integers(0, 255, (4, 6, 7, 8)).astype(np.uint8))
    arrays[3] = arrays[0] if equal else arrays[3]
    samples = []
    for number, array in enumerate(arrays):
        (folder / f"case{number}").mkdir(parents=True)
        path = write(folder / f"case{number}", array)
        points = (rng.random((3, 3)) * 5).round(2).tolist()
        samples.append(dict(id=f"c{number}", image=str(path.relative_to(folder)), landmarks=points))
    schema = dict(name="three", landmarks=["a", "b", "c"], dims=3)
    (folder / "all.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    for split, ids in (("train", ["c0", "c1"]), ("test", ["c2", "c3"])):
        parts[split] = LandmarkDataset("all.json", str(folder), ids=ids)
    return parts


def series(folder, array):
    """Write a folder of slices; copies have the bytes of the first."""
    made = write_dicom_series(folder.parent.parent / f"made{array.sum()}", array, np.eye(4))
    return Path(shutil.copytree(made, folder / "ct"))


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize(
    ("package", "write"),
    [
        ("SimpleITK", lambda folder, array: write_itk(folder / "ct.mhd", array, np.eye(4))),
        ("SimpleITK", lambda folder, array: write_itk(folder / "ct.nhdr", array, np.eye(4))),
        ("pydicom", series),
    ],
    ids=["mhd", "nhdr", "dicom"],
)
def test_images_of_several_files(tmp_path, package, write, images):
    pytest.importorskip(package)
    different = check_dataset(volumes(tmp_path / "a" / "d", write, equal=False), images=images)
    assert not [f for f in different["findings"] if f["check"] in ("image leak", "same image")]
    equal = check_dataset(volumes(tmp_path / "b" / "e", write, equal=True), images=images)
    assert {f["sample_id"] for f in equal["findings"] if f["check"] == "image leak"} == {"c0", "c3"}


def test_images_in_shards(tmp_path):
    train = ShardedDataset(str(packed_data.write(tmp_path / "a", first=0)))
    test = ShardedDataset(str(packed_data.write(tmp_path / "b", first=7)))
    report = check_dataset(dict(train=train, test=test), images=True)
    assert {f["sample_id"] for f in report["findings"] if f["check"] == "image leak"} == {"p7"}
    assert report["left_out"] == ["copies in other formats, and whether points fit their images, in shards"]
    drawn = draw_check_pictures(dict(train=train, test=test), report, tmp_path)
    assert set(drawn.sheets) == {"train", "test"}
    assert {("train", "p7"), ("test", "p7")} <= set(drawn.samples)


@pytest.mark.real_data
def test_isbi_has_two_images_in_both_train_and_test(real_data):
    root = str(real_data("isbi2015_ceph"))
    report = check_dataset({s: Isbi2015Cephalogram(data_root=root, split=s) for s in ("train", "test1")})
    leaked = {f["sample_id"] for f in report["findings"] if f["check"] == "image leak"}
    assert leaked == {"038", "283", "144", "173"}
    assert "point outside" not in report["summary"]
