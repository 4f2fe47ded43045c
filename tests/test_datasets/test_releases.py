"""Readers of releases, on tiny copies of their layouts and on the real files."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.releases import (
    Aariz,
    ClDetection2023,
    CocoKeypoints,
    DigitalHandAtlas,
    Isbi2015Cephalogram,
    SpineAasce2019,
    TpsFile,
)
from mmlandmark.datasets.releases.cl_detection2023 import open_stack, strip_padding
from mmlandmark.datasets.releases.spine_aasce2019 import sort_corners
from mmlandmark.structures import LandmarkSchema


def image(path, size=(24, 20), value=128):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mha":
        metaimage(path, np.full((1, *size), value, np.uint8))
    else:
        assert cv2.imwrite(str(path), np.full(size, value, np.uint8))


def metaimage(path, array, channels=1, compressed=False):
    size = array.shape[:3][::-1]
    header = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", f"CompressedData = {compressed}",
        f"DimSize = {' '.join(map(str, size))}", "ElementType = MET_UCHAR",
    ]  # fmt: skip
    header += [f"ElementNumberOfChannels = {channels}"] if channels > 1 else []
    path.write_bytes("\n".join([*header, "ElementDataFile = LOCAL\n"]).encode() + array.tobytes())


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def ids(dataset):
    return [record["sample_id"] for record in dataset]


# ---- ISBI 2015 ----------------------------------------------------------------------------------------


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
    readings = dataset[0].get("readings")
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


# ---- Digital Hand Atlas -------------------------------------------------------------------------------


def hands(root, where, suffix, setup="setup"):
    rows = []
    for number in range(3142, 3148):
        image(root / where.format(number) / f"{number}.{suffix}", size=(40, 40))
        rows.append(",".join(map(str, [number, *range(74)])))
    text(root / setup / "all.csv", "\n".join(rows))
    for fold in (1, 2, 3):
        test = [3140 + 2 * fold, 3141 + 2 * fold]
        train = [n for n in range(3142, 3147) if n not in test]  # 3147 is in no fold
        text(root / setup / "cv" / f"set{fold}" / "test.txt", "\n".join(map(str, test)))
        text(root / setup / "cv" / f"set{fold}" / "train.txt", "\n".join(map(str, train)))
    return str(root)


@pytest.mark.parametrize(
    ("where", "suffix", "setup"),
    [
        ("images", "jpg", "setup"),
        ("images", "mha", "setup"),
        ("images", "png", "."),
        ("JPEGimages/ASIF/ASIF{0}", "jpg", "setup"),
        ("jpg", "jpg", "."),
    ],
)
def test_hand_layouts(tmp_path, where, suffix, setup):
    dataset = DigitalHandAtlas(data_root=hands(tmp_path, where, suffix, setup))
    assert len(dataset) == 6
    record = dataset[1]
    assert record["sample_id"] == "3143"
    assert record["img_path"].endswith(f"3143.{suffix}")
    np.testing.assert_array_equal(record["landmarks"], np.arange(74).reshape(37, 2))
    assert record["spacing"] is None
    assert dataset.metainfo["reference_length"] == {"pair": [0, 4], "mm": 50.0}


def test_hand_folds(tmp_path):
    root = hands(tmp_path, "images", "jpg")
    assert ids(DigitalHandAtlas(data_root=root, fold=2, split="test")) == ["3144", "3145"]
    assert ids(DigitalHandAtlas(data_root=root, fold=2, split="train")) == ["3142", "3143", "3146"]
    assert DigitalHandAtlas(data_root=root).available_folds() == ["1", "2", "3"]
    assert (
        len(DigitalHandAtlas(data_root=root, fold=1, num_folds=3)) == 2
    )  # dealt out, whatever the lists say
    with pytest.raises(ValueError, match="splits belong to folds"):
        DigitalHandAtlas(data_root=root, split="train")
    with pytest.raises(FileNotFoundError, match="set4"):
        DigitalHandAtlas(data_root=root, fold=4)
    text(tmp_path / "setup" / "cv" / "set1" / "train.txt", "3142\n3143")
    with pytest.raises(ValueError, match=r"ids in both train\.txt and test\.txt"):
        DigitalHandAtlas(data_root=root, fold=1, split="train")


@pytest.mark.real_data
def test_hand_real(real_data):
    root = str(real_data("hand_dha"))
    assert len(DigitalHandAtlas(data_root=root, missing_images="keep")) == 910
    sizes = [
        [
            len(DigitalHandAtlas(data_root=root, missing_images="keep", fold=k, split=s))
            for s in ("train", "test")
        ]
        for k in (1, 2, 3)
    ]
    assert sizes == [[597, 298], [597, 298], [596, 299]]
    shown = DigitalHandAtlas(data_root=root, missing_images="drop", pipeline=[dict(type="LoadImage")])
    assert len(shown) == 9
    height, width = shown[0]["img"].shape
    assert (shown[0]["landmarks"] < [width, height]).all()


# ---- spine --------------------------------------------------------------------------------------------


def spine(root, nested=False, splits=("training", "test")):
    base = root / "boostnet_labeldata" if nested else root
    for split in splits:
        names = [
            f"sunhl-1th-0{d}-Jan-2017-{n} {c} AP.jpg"
            for d, n, c in ((3, 16, "A"), (4, 16, "B"), (4, 17, "A"))
        ]
        names = [split[:2] + name for name in names]
        for name in names:
            image(base / "data" / split / name, size=(200, 100))
        x = np.tile([0.4, 0.6], 34)
        y = np.repeat(np.linspace(0.1, 0.9, 34), 2)
        row = ",".join(f"{v:.6f}" for v in [*x, *y])
        text(base / "labels" / split / "filenames.csv", "\n".join(names))
        text(base / "labels" / split / "landmarks.csv", "\n".join([row] * 3))
        text(base / "labels" / split / "angles.csv", "1,2,3\n4,5,6\n7,8,9")
    return str(root)


@pytest.mark.parametrize("nested", [True, False])
def test_spine_layouts(tmp_path, nested):
    dataset = SpineAasce2019(data_root=spine(tmp_path, nested))
    assert len(dataset) == 6
    record = SpineAasce2019(data_root=str(tmp_path), split="test")[1]
    assert record["angles"] == (4, 5, 6)
    assert record["ori_shape"] == (200, 100)
    np.testing.assert_allclose(record["landmarks"][[0, 1, 67]], [[40, 20], [60, 20], [60, 180]], rtol=1e-5)


def test_spine_films_of_one_person_are_one_group(tmp_path):
    dataset = SpineAasce2019(data_root=spine(tmp_path), split="train")
    assert [r["group"] for r in dataset] == ["trsunhl-1th-16", "trsunhl-1th-16", "trsunhl-1th-17"]


def test_spine_corners_are_sorted():
    points = np.array([[5.0, 1.0], [1.0, 2.0], [6.0, 9.0], [2.0, 8.0]])
    np.testing.assert_array_equal(sort_corners(points), [[1, 2], [5, 1], [2, 8], [6, 9]])


def test_spine_repairs_swapped_corners_on_request(tmp_path):
    root = spine(tmp_path, splits=("training",))
    row = (tmp_path / "labels" / "training" / "landmarks.csv").read_text().splitlines()[0].split(",")
    row[0], row[1] = row[1], row[0]
    text(tmp_path / "labels" / "training" / "landmarks.csv", "\n".join([",".join(row)] * 3))
    assert SpineAasce2019(data_root=root)[0]["landmarks"][0, 0] == pytest.approx(60)
    assert SpineAasce2019(data_root=root, sort_vertebra_points=True)[0]["landmarks"][0, 0] == pytest.approx(
        40
    )


def test_spine_tables_must_agree(tmp_path):
    root = spine(tmp_path, splits=("training",))
    text(tmp_path / "labels" / "training" / "angles.csv", "1,2,3\n4,5")
    with pytest.raises(ValueError, match=r"angles\.csv, line 2: 2 numbers, expected 3"):
        SpineAasce2019(data_root=root)
    text(tmp_path / "labels" / "training" / "angles.csv", "1,2,3")
    with pytest.raises(ValueError, match="3, 3 and 1 rows"):
        SpineAasce2019(data_root=root)
    with pytest.raises(ValueError, match="split 'test' is empty"):
        SpineAasce2019(data_root=root, split="test")


@pytest.mark.real_data
def test_spine_real(real_data):
    from scipy.io import loadmat

    root = real_data("spine_aasce2019")
    dataset = SpineAasce2019(data_root=str(root))
    assert len(dataset) == 481
    for record in list(dataset)[::60]:
        name = record["img_path"].rsplit("/", 1)[1]
        matrix = loadmat(root / "labels" / "training" / f"{name}.mat")["p2"]
        np.testing.assert_allclose(record["landmarks"], matrix, atol=0.51)
    train, val = (SpineAasce2019(data_root=str(root), split=s, fold=0, num_folds=5) for s in ("train", "val"))
    assert len(train) + len(val) == 481
    assert not {r["group"] for r in train} & {r["group"] for r in val}


# ---- CL-Detection 2023 --------------------------------------------------------------------------------


def cl_detection(root, **kwargs):
    stack = np.zeros((3, 12, 16, 3), np.uint8)
    for n, (height, width) in enumerate([(12, 16), (10, 16), (12, 9)]):
        stack[n, :height, :width] = 50 * (n + 1)
    metaimage(root / "train_stack.mha", stack, channels=3, **kwargs)
    points = [
        dict(name=str(k + 1), point=[k / 10, 2.5, n + 1], scale=0.1 + n / 100)
        for n in (2, 0, 1)
        for k in range(38)
    ]
    text(root / "train-gt.json", json.dumps(dict(points=points)))
    return str(root)


def test_cl_detection(tmp_path):
    dataset = ClDetection2023(data_root=cl_detection(tmp_path))
    assert [r["img"].shape for r in dataset] == [(12, 16), (10, 16), (12, 9)]
    record = dataset[1]
    assert (record["sample_id"], record["spacing"]) == ("002", (0.11, 0.11))
    assert (record["img"] == 100).all()
    np.testing.assert_allclose(record["landmarks"][37], [3.7, 2.5], rtol=1e-6)
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", size=(6, 8)),
        dict(type="Resample"),
        dict(type="PackInputs"),
    ]
    packed = ClDetection2023(data_root=str(tmp_path), ids=["003"], pipeline=pipeline)[0]
    assert packed["data_samples"].ori_shape == (12, 9)
    torch.testing.assert_close(packed["inputs"], torch.full((1, 6, 8), 150 / 255))


def test_cl_detection_reads_one_slice_only(tmp_path):
    cl_detection(tmp_path)
    assert isinstance(open_stack(tmp_path / "train_stack.mha"), np.memmap)


def test_cl_detection_bad_stack(tmp_path):
    root = cl_detection(tmp_path, compressed=True)
    with pytest.raises(ValueError, match="the stack is compressed"):
        ClDetection2023(data_root=root)
    cl_detection(tmp_path)
    data = (tmp_path / "train_stack.mha").read_bytes()
    (tmp_path / "train_stack.mha").write_bytes(data[:-10])
    with pytest.raises(ValueError, match="shorter than its header says"):
        ClDetection2023(data_root=root)
    (tmp_path / "train_stack.mha").write_bytes(b"hello\nworld\n")
    with pytest.raises(ValueError, match="header of this stack is broken"):
        ClDetection2023(data_root=root)
    (tmp_path / "train_stack.mha").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_stack\.mha"):
        ClDetection2023(data_root=root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(point=[1, 2, 4]), r"points\[5\]: image 4 is not in train_stack"),
        (dict(name="39"), "landmark '39' is not in schema"),
        (dict(name="1"), "landmark '1' of image 003 is given twice"),
        (dict(scale=7), "scale 7 of image 003 was 0.12 before"),
        (dict(point=[1, 2]), r"points\[5\]: needs 'name', 'point'"),
    ],
)
def test_cl_detection_bad_annotation(tmp_path, change, message):
    root = cl_detection(tmp_path)
    data = json.loads((tmp_path / "train-gt.json").read_text())
    data["points"][5].update(change)
    text(tmp_path / "train-gt.json", json.dumps(data))
    with pytest.raises(ValueError, match=message):
        ClDetection2023(data_root=root)


def test_padding_is_stripped_at_the_end_only():
    padded = np.zeros((6, 7), np.uint8)
    padded[2:4, 1:5] = 9
    assert strip_padding(padded).shape == (4, 5)
    assert strip_padding(np.zeros((3, 3), np.uint8)).shape == (3, 3)


# ---- Aariz --------------------------------------------------------------------------------------------

SYMBOLS = list(LandmarkSchema.load("aariz").landmarks)


def aariz(root, train="train", symbols=SYMBOLS):
    for split in (train, "valid", "test"):
        for name in ("b2", "a1"):
            name = f"{split[0].lower()}{name}"
            image(root / split / "Cephalograms" / f"{name}.png")
            notes = root / split / "Annotations"
            for observer, shift in (("Senior", 0), ("Junior", 1)):
                marks = [dict(symbol=s, value=dict(x=SYMBOLS.index(s) + shift, y=2)) for s in symbols]
                folder = notes / "Cephalometric Landmarks" / f"{observer} Orthodontists"
                text(folder / f"{name}.json", json.dumps(dict(landmarks=marks)))
            text(notes / "CVM Stages" / f"{name}.json", json.dumps(dict(cvm_stage=dict(value=3))))
    text(
        root / "cephalogram_machine_mappings.csv",
        "cephalogram_id,machine,pixel_size\nta1,X,0.1\ntb2,Y,0.125\n",
    )
    return str(root)


@pytest.mark.parametrize("train", ["train", "Train", "TRAIN"])
@pytest.mark.parametrize("symbols", [SYMBOLS, SYMBOLS[::-1]])
def test_aariz(tmp_path, train, symbols):
    dataset = Aariz(data_root=aariz(tmp_path, train, symbols), split="train")
    assert ids(dataset) == ["ta1", "tb2"]
    record = dataset[1]
    assert (record["spacing"], record["cvm_stage"]) == ((0.125, 0.125), 3)
    np.testing.assert_array_equal(record["landmarks"], [[k + 0.5, 2] for k in range(29)])
    np.testing.assert_array_equal(record["readings"][1], [[k + 1, 2] for k in range(29)])


def test_aariz_splits_and_annotators(tmp_path):
    root = aariz(tmp_path)
    assert (
        ids(Aariz(data_root=root, split="val")) == ids(Aariz(data_root=root, split="valid")) == ["va1", "vb2"]
    )
    assert Aariz(data_root=root, split="valid")[0]["spacing"] is None
    assert Aariz(data_root=root, split="valid", annotator="junior")[0]["landmarks"][0, 0] == 1
    with pytest.raises(FileNotFoundError, match=r"sizes\.csv"):
        Aariz(data_root=root, pixel_size_file="sizes.csv")
    text(tmp_path / "sizes.csv", "a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"sizes\.csv, line 1: needs a column"):
        Aariz(data_root=root, pixel_size_file="sizes.csv")


def test_aariz_wrong_count(tmp_path):
    with pytest.raises(ValueError, match=r"ta1\.json: 28 landmarks, expected 29"):
        Aariz(data_root=aariz(tmp_path, symbols=SYMBOLS[1:]))


# ---- COCO ---------------------------------------------------------------------------------------------


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


# ---- TPS ----------------------------------------------------------------------------------------------

TPS = """LM=3
1.0 2.0
NA NA
-1 -1
CURVES=1
POINTS=2
9 9
8 8
IMAGE=C:\\pictures\\a.png
ID=0
SCALE=0.05

LM=3
1 0
2 0
3 23
IMAGE=b.png
"""


def tps(root, content=TPS):
    for name in "ab":
        image(root / f"{name}.png")
    text(root / "all.tps", content)
    return dict(ann_file="all.tps", data_root=str(root))


def test_tps_counts_y_from_the_bottom(tmp_path):
    first, second = TpsFile(**tps(tmp_path), scale_to_mm=10)
    np.testing.assert_array_equal(first["landmarks"], [[1, 21], [np.nan] * 2, [np.nan] * 2])
    np.testing.assert_array_equal(second["landmarks"], [[1, 23], [2, 23], [3, 0]])
    assert (first["sample_id"], first["spacing"], second["spacing"]) == ("a", (0.5, 0.5), None)
    assert second["source"].endswith("line 13")


def test_tps_from_the_top(tmp_path):
    assert TpsFile(**tps(tmp_path), y_up=False)[0]["landmarks"][0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("LM=2\n1 2\n", "line 1: 2 lines of 2 or 3 coordinates must follow"),
        ("LM=1\n1 two\nID=1\n", "line 2: '1 two' are not numbers"),
        ("LM=1\n1 2\n3 4\nIMAGE=a.png\n", "line 3: '3 4' is not expected here"),
        ("LM=x\n", "line 1: expected a number of points"),
        ("LM=1\n1 2\n", "neither IMAGE= nor ID="),
        ("LM=1\n1 2\nID=4\n", "y_up needs IMAGE="),
        (
            "LM=1\n1 2\nIMAGE=a.png\nLM=2\n1 2\n3 4\nIMAGE=b.png\n",
            "2 landmarks, but schema 'numbered1' has 1",
        ),
    ],
)
def test_tps_bad_input(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        TpsFile(**tps(tmp_path, content))


@pytest.mark.parametrize(
    "cls",
    [Aariz, ClDetection2023, CocoKeypoints, DigitalHandAtlas, Isbi2015Cephalogram, SpineAasce2019, TpsFile],
)
def test_releases_fail_clearly_on_a_folder_that_does_not_exist(cls, tmp_path):
    assert issubclass(cls, LandmarkDataset)
    with pytest.raises(FileNotFoundError, match=r"data_root .* does not exist"):
        cls(data_root=str(tmp_path / "nowhere"))
