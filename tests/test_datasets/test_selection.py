"""Which records are used: by split, fold and id."""

from __future__ import annotations

import json

import pytest

from mmlandmark.datasets.selection import Selection
from test_datasets.six_cases import build, names


def publish(root, fold, train, test, name="test"):
    folder = root / "cv" / f"set{fold}"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("\n".join(train))
    (folder / f"{name}.txt").write_text("\n".join(test))


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (dict(split="train"), [0, 1, 2, 3]),
        (dict(split="test"), [4, 5]),
        (dict(fold=1), [1, 3]),
        (dict(fold=1, split="train"), [0, 2]),
        (dict(fold=1, split="val"), [1, 3]),
        (dict(ids=["case5", "case0"]), [5, 0]),
        (dict(split="train", ids=["case3"]), [3]),
        (dict(indices=2), [0, 1]),
        (dict(indices=[3, 1]), [3, 1]),
    ],
)
def test_selection(root, selection, expected):
    dataset = build(root, **selection)
    assert [r["sample_id"] for r in dataset] == [f"case{i}" for i in expected]


def test_published_folds_take_the_place_of_splits(root):
    publish(root, 1, ["case0", "case5"], ["case1"])
    publish(root, 10, ["case1"], ["case0", "case4"], name="val")
    assert names(build(root, fold_dir="cv", fold=1, split="train")) == ["case0", "case5"]
    assert names(build(root, fold_dir="cv", fold="1")) == ["case1"]
    assert names(build(root, fold_dir="cv", fold=10, split="val")) == ["case0", "case4"]
    assert build(root, fold_dir="cv", lazy_init=True).available_folds() == ["1", "10"]
    publish(root, 2, ["case0"], ["case7"])
    with pytest.raises(ValueError, match=r"1 ids of fold 2 are not in .*\['case7'\]"):
        build(root, fold_dir="cv", fold=2)
    with pytest.raises(FileNotFoundError, match="no folders set1, set2"):
        build(root, fold_dir="images", lazy_init=True).available_folds()
    with pytest.raises(ValueError, match="give one of them"):
        build(root, fold_dir="cv", fold=0, num_folds=2)


def test_available_folds(root):
    assert build(root, lazy_init=True).available_folds() == ["0", "1"]
    assert build(root, fold=3, num_folds=12, lazy_init=True).available_folds() == [str(k) for k in range(12)]
    data = json.loads((root / "all.json").read_text())
    for sample in data["samples"]:
        del sample["fold"]
    (root / "all.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="has no folds; give num_folds"):
        build(root).available_folds()


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), "train val test1 test2"),
        (Selection(split="val"), "val"),
        (Selection(split="test", split_groups=dict(test=("test1", "test2"))), "test1 test2"),
        (Selection(fold=1), "train"),
        (Selection(fold=1, fold_split="val"), "val"),
        (Selection(fold=1, fold_split=None), "train val test1 test2"),
        (Selection(fold=1, fold_dir="cv"), "train val test1 test2"),
    ],
)
def test_wanted_splits(selection, wanted):
    splits = ("train", "val", "test1", "test2")
    assert [name for name in splits if selection.wants_split(name)] == wanted.split()


def test_nothing_left_names_the_choice():
    records = [dict(sample_id="a", fold=0), dict(sample_id="b", fold=1)]
    with pytest.raises(ValueError, match=r"mine: no records are left for split='train', fold=0, ids=None"):
        Selection(split="train", fold=0).select(records[:1], "mine")
    with pytest.raises(ValueError, match=r"mine: fold 7 is empty; folds found: \['0', '1'\]"):
        Selection(fold=7).select(records, "mine")
