"""AASCE 2019 spines, on tiny copies of their layout and on real files."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.releases import SpineAasce2019
from mmlandmark.datasets.releases.spine_aasce2019 import sort_corners
from test_datasets.test_releases.release_files import image, text


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
@pytest.mark.parametrize(("split", "films", "moved"), [(None, 49, 4), ("train", 432, 17)])
def test_corners_that_the_shipped_configs_sort(real_data, split, films, moved):
    """As docs/datasets.md and the README of FARNet say it, of the parts that the configs use."""
    raw, tidy = (
        SpineAasce2019(
            data_root=str(real_data("spine_aasce2019")),
            split=split,
            num_folds=10,
            fold=0,
            sort_vertebra_points=sort,
        )
        for sort in (False, True)
    )
    pairs = [(a["landmarks"], b["landmarks"], a["ori_shape"]) for a, b in zip(raw, tidy, strict=True)]
    assert len(pairs) == films
    assert sum(int((a != b).any(axis=1).sum()) for a, b, _ in pairs) == moved
    if split is None:
        error = np.mean([((a - b) / shape[::-1]) ** 2 for a, b, shape in pairs])
        assert error == pytest.approx(9.4e-6, abs=1e-7)


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
