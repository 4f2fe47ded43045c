"""The Digital Hand Atlas, on tiny copies of their layout and on real files."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.releases import DigitalHandAtlas
from test_datasets.test_releases.release_files import ids, image, text


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
