"""ISBI 2015 cephalograms, on tiny copies of their layout and on real files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.folds import deal_folds
from mmlandmark.datasets.releases import Isbi2015Cephalogram
from test_datasets.test_releases.release_files import ids, image, text


def isbi(root, annotations="AnnotationsByMD", suffix="bmp", classes=True, flat=False):
    for number, folder in (
        (1, "TrainingData"),
        (150, "TrainingData"),
        (151, "Test1Data"),
        (301, "Test2Data"),
    ):
        folder = "Test1Data" if flat and number > 150 else folder
        image(root / "RawImage" / folder / f"{number:03d}.{suffix}")
        for observer, shift in (("senior", 0), ("junior", 3)):
            lines = [f"{k + shift},{2 * k} " for k in range(19)] + (["1", "2"] * 4 if classes else [])
            text(root / annotations / f"400_{observer}" / f"{number:03d}.txt", "\n".join(lines) + "\n")
    return str(root)


@pytest.mark.parametrize("annotations", ["AnnotationsByMD", "."])
@pytest.mark.parametrize("suffix", ["bmp", "png", "jpg"])
@pytest.mark.parametrize("classes", [True, False])
def test_isbi_layouts(tmp_path, annotations, suffix, classes):
    dataset = Isbi2015Cephalogram(data_root=isbi(tmp_path, annotations, suffix, classes))
    assert ids(dataset) == ["001", "150", "151", "301"]
    record = dataset[2]
    assert record["img_path"].endswith(f"Test1Data/151.{suffix}")
    assert record["spacing"] == (0.1, 0.1)
    np.testing.assert_array_equal(record["landmarks"], [[k + 1.5, 2 * k] for k in range(19)])
    assert record.get("classes", {}).get("MW") == (2 if classes else None)


@pytest.mark.parametrize(("annotator", "shift"), [("senior", 0), ("junior", 3), ("mean", 1.5)])
def test_isbi_annotators(tmp_path, annotator, shift):
    dataset = Isbi2015Cephalogram(data_root=isbi(tmp_path), annotator=annotator)
    assert dataset[0]["landmarks"][5].tolist() == [5 + shift, 10]
    readings = dataset[0].get("by_annotator")
    assert (readings is not None) == (annotator == "mean")
    if readings is not None:
        assert readings[:, 5].tolist() == [[5, 10], [8, 10]]


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize(
    ("split", "expected"),
    [("train", ["001", "150"]), ("test1", ["151"]), ("test2", ["301"]), ("test", ["151", "301"])],
)
def test_isbi_splits_follow_the_number(tmp_path, flat, split, expected):
    assert ids(Isbi2015Cephalogram(data_root=isbi(tmp_path, flat=flat), split=split)) == expected


def many(root, numbers):
    for number in numbers:
        for observer in ("senior", "junior"):
            lines = [f"{k},{2 * k}" for k in range(19)]
            text(root / "AnnotationsByMD" / f"400_{observer}" / f"{number:03d}.txt", "\n".join(lines))
    (root / "RawImage").mkdir()
    return dict(data_root=str(root), missing_images="keep")


def test_one_film_under_two_numbers_is_one_group(tmp_path):
    dataset = Isbi2015Cephalogram(**many(tmp_path, (37, 38, 144, 173, 188, 283, 284, 294)))
    groups = {record["sample_id"]: record["group"] for record in dataset}
    doubles = {"173": "144", "283": "038", "294": "188"}
    assert groups == {name: doubles.get(name, name) for name in groups}
    assert len(groups) == 8


@pytest.mark.slow
@pytest.mark.real_data
def test_the_films_under_two_numbers_are_these_and_no_others(real_data):
    root = real_data("isbi2015_ceph")
    records = list(Isbi2015Cephalogram(data_root=str(root)))
    seen = []
    for record in records:
        film = cv2.imread(record["img_path"], cv2.IMREAD_REDUCED_GRAYSCALE_8).astype(np.float32)
        film = cv2.resize(film, (121, 150), interpolation=cv2.INTER_AREA)
        fine = (film - cv2.GaussianBlur(film, (0, 0), 6))[5:-5, 5:-5]  # structure, whatever the contrast
        seen.append(((fine - fine.mean()) / np.linalg.norm(fine - fine.mean())).ravel())
    alike = np.triu(np.array(seen) @ np.array(seen).T, 1)
    found = {(records[a]["sample_id"], records[b]["sample_id"]) for a, b in np.argwhere(alike > 0.9)}
    groups = {}
    for record in records:
        groups.setdefault(record["group"], []).append(record["sample_id"])
    assert found == {tuple(ids) for ids in groups.values() if len(ids) > 1}
    assert len(found) == 23
    assert not ((alike > 0.8) & (alike <= 0.9)).any()


def test_folds_of_the_training_part_do_not_depend_on_the_groups(tmp_path):
    dataset = Isbi2015Cephalogram(**many(tmp_path, range(1, 151)), split="val", fold=0, num_folds=5)
    records = [dict(sample_id=f"{number:03d}") for number in range(1, 151)]
    deal_folds(records, 5)
    assert ids(dataset) == [r["sample_id"] for r in records if r["fold"] == 0]


def test_isbi_annotation_of_wrong_length(tmp_path):
    root = isbi(tmp_path)
    text(tmp_path / "AnnotationsByMD" / "400_junior" / "150.txt", "1,2\n" * 18)
    with pytest.raises(ValueError, match=r"400_junior/150\.txt: 18 lines, expected 19"):
        Isbi2015Cephalogram(data_root=root)
    assert len(Isbi2015Cephalogram(data_root=root, annotator="senior")) == 4
    text(tmp_path / "AnnotationsByMD" / "400_junior" / "150.txt", "1,2\n" * 4 + "1;2\n" + "1,2\n" * 14)
    with pytest.raises(ValueError, match=r"150\.txt, line 5: '1;2' is not 'x,y'"):
        Isbi2015Cephalogram(data_root=root)


def test_isbi_missing_parts(tmp_path):
    root = isbi(tmp_path)
    (tmp_path / "RawImage" / "Test2Data" / "301.bmp").unlink()
    with pytest.raises(FileNotFoundError, match=r"Test2Data/301\.bmp"):
        Isbi2015Cephalogram(data_root=root)
    (tmp_path / "AnnotationsByMD" / "400_junior" / "001.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"400_junior/001\.txt"):
        Isbi2015Cephalogram(data_root=root, split="train")
    with pytest.raises(FileNotFoundError, match="400_senior"):
        Isbi2015Cephalogram(data_root=str(tmp_path / "RawImage"))
    with pytest.raises(ValueError, match="annotator must be"):
        Isbi2015Cephalogram(data_root=root, annotator="both")


@pytest.mark.real_data
def test_isbi_real(real_data):
    root = str(real_data("isbi2015_ceph"))
    train, test = (Isbi2015Cephalogram(data_root=root, split=split) for split in ("train", "test1"))
    assert (len(train), len(test)) == (150, 150)
    senior, junior = (Isbi2015Cephalogram(data_root=root, annotator=who) for who in ("senior", "junior"))
    gaps = [
        np.linalg.norm(a["landmarks"] - b["landmarks"], axis=1) for a, b in zip(senior, junior, strict=True)
    ]
    assert np.mean(gaps) * 0.1 == pytest.approx(2.35, abs=0.25)
    loaded = Isbi2015Cephalogram(data_root=root, ids=["151"], pipeline=[dict(type="LoadImage")])[0]
    assert loaded["ori_shape"] == (2400, 1935)
