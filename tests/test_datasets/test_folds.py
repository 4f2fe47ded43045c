"""Dealing cases out to folds and parts, by group, and reading published folds."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain

import pytest

from mmlandmark.datasets.folds import deal_folds, deal_parts, fold_lists, published_folds
from test_datasets.six_cases import build, names


def records(count, group=lambda i: None):
    return [dict(sample_id=f"case{i:04d}", group=group(i)) for i in range(count)]


def test_dealt_folds_partition_the_training_part_by_group(root):
    data = json.loads((root / "all.json").read_text())
    for sample in data["samples"]:
        del sample["split"], sample["fold"]
    (root / "all.json").write_text(json.dumps(data))
    parts = [build(root, fold=k, num_folds=3) for k in range(3)]
    groups = [{r["group"] for r in part} for part in parts]
    assert all(len(g) == 1 for g in groups)
    assert set.union(*groups) == {"patient0", "patient1", "patient2"}
    rest = build(root, fold=0, num_folds=3, split="train")
    assert {r["sample_id"] for r in rest} == {r["sample_id"] for part in parts[1:] for r in part}


def test_dealt_folds_follow_their_seed_and_may_divide_all_splits(root):
    parts = [[names(build(root, fold=k, num_folds=2, fold_seed=s)) for k in range(2)] for s in range(6)]
    assert {tuple(sorted(part[0] + part[1])) for part in parts} == {("case0", "case1", "case2", "case3")}
    assert len({tuple(map(tuple, part)) for part in parts}) == 2  # either patient may come first
    whole = [names(build(root, fold=k, num_folds=3, fold_split=None)) for k in range(3)]
    assert sorted(chain(*whole)) == [f"case{i}" for i in range(6)]


def test_patients_are_found_in_the_ids(root):
    data = json.loads((root / "all.json").read_text())
    for number, sample in enumerate(data["samples"]):
        del sample["split"], sample["fold"]
        if number != 5:
            del sample["group"]
    (root / "all.json").write_text(json.dumps(data))
    assert [r["group"] for r in build(root)] == [None] * 5 + ["patient2"]
    groups = [r["group"] for r in build(root, group_pattern=r"case(\d)")]
    assert groups == ["0", "1", "2", "3", "4", "patient2"]
    assert [r["group"] for r in build(root, group_pattern="c")][:5] == ["c"] * 5
    parts = [names(build(root, group_pattern="case[0-4]", fold=k, num_folds=6)) for k in range(6)]
    assert sorted(chain(*parts)) == [f"case{i}" for i in range(6)]
    with pytest.raises(ValueError, match=r"case3.*group_pattern 'case\[0-2\]' matches no patient in its id"):
        build(root, group_pattern="case[0-2]")
    with pytest.raises(ValueError, match="matches no patient in its id"):
        build(root, group_pattern="(x)?case")
    with pytest.raises(ValueError, match="is not a regular expression"):
        build(root, group_pattern="(")


@pytest.mark.parametrize(
    ("count", "sizes"),
    # The parts of FSF-LD (Huang et al. 2022): hands, cephalograms, halves of hips.
    [(895, (537, 179, 179)), (400, (240, 80, 80)), (420, (252, 84, 84)), (7, (4, 2, 1))],
)
def test_sizes_are_the_shares(count, sizes):
    shares = dict(train=6, test1=2, test2=2)
    parts = deal_parts(records(count), shares)
    assert tuple(map(len, parts.values())) == sizes
    assert sorted(i for ids in parts.values() for i in ids) == [r["sample_id"] for r in records(count)]
    assert parts == deal_parts(list(reversed(records(count))), shares), (
        "the order of records is of no account"
    )
    assert parts != deal_parts(records(count), shares, seed=1)


def test_groups_stay_together():
    cases = records(420, lambda i: f"person{i // 2}")
    parts = deal_parts(cases, dict(train=6, test1=2, test2=2))
    assert [len(ids) for ids in parts.values()] == [252, 84, 84]
    part_of = {i: name for name, ids in parts.items() for i in ids}
    homes = Counter((r["group"], part_of[r["sample_id"]]) for r in cases)
    assert set(homes.values()) == {2}


def test_too_few():
    with pytest.raises(ValueError, match=r"too few .*: \['b', 'c'\] are empty"):
        deal_parts(records(3, lambda i: "one"), dict(a=1, b=1, c=1))
    for share in (0, "x"):
        with pytest.raises(ValueError, match="positive share"):
            deal_parts(records(3), dict(a=1, b=share))


def test_folds_are_of_nearly_equal_size_and_keep_groups():
    cases = records(23, lambda i: f"person{i // 3}")
    deal_folds(cases, 4, seed=2)
    sizes = Counter(case["fold"] for case in cases)
    assert sorted(sizes.values()) == [5, 6, 6, 6]
    assert len({(case["group"], case["fold"]) for case in cases}) == 8
    for count in (1, 9):
        with pytest.raises(ValueError, match="num_folds must be between 2 and the number of groups, 8"):
            deal_folds(cases, count)


def test_an_id_in_both_lists_of_a_fold_is_refused(tmp_path):
    (tmp_path / "set1").mkdir()
    (tmp_path / "set1" / "train.txt").write_text("a\nb\n")
    (tmp_path / "set1" / "test.txt").write_text("c\n")
    assert fold_lists(tmp_path, "1") == dict(a="not 1", b="not 1", c="1")
    assert published_folds(tmp_path) == ["1"]
    (tmp_path / "set1" / "test.txt").write_text("c\nb\n")
    with pytest.raises(ValueError, match=r"ids in both train\.txt and test\.txt: \['b'\]"):
        fold_lists(tmp_path, "1")
