"""Walking through datasets that hold datasets, as configs and built."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from mmlandmark.utils.dataset_tree import (
    bare_dataset,
    change_leaves,
    inner_datasets,
    leaf_configs,
    leaf_datasets,
)

NESTED = dict(
    type="ConcatDataset",
    datasets=[dict(type="A"), dict(type="RepeatDataset", times=2, dataset=dict(type="B", fold=0))],
)


def test_leaves_of_a_config_are_in_order_and_the_very_dicts():
    leaves = leaf_configs(NESTED)
    assert [leaf["type"] for leaf in leaves] == ["A", "B"]
    assert leaves[1] is NESTED["datasets"][1]["dataset"]
    plain = dict(type="A")
    assert leaf_configs(plain)[0] is plain


def test_changing_leaves_copies():
    changed = change_leaves(NESTED, lambda leaf: dict(leaf, fold=3))
    assert [leaf["fold"] for leaf in leaf_configs(changed)] == [3, 3]
    assert changed["datasets"][1]["times"] == 2
    assert NESTED["datasets"] == [
        dict(type="A"),
        dict(type="RepeatDataset", times=2, dataset=dict(type="B", fold=0)),
    ]
    assert change_leaves(dict(type="A", x=1), lambda leaf: {"type": leaf["type"]}) == dict(type="A")


def test_a_bare_dataset_has_another_pipeline_and_no_cache():
    wrapped = dict(type="ConcatDataset", datasets=[dict(type="A", pipeline=["x"], image_cache=1, fold=2)])
    assert leaf_configs(bare_dataset(wrapped, ["y"])) == [dict(type="A", pipeline=["y"], fold=2)]
    assert bare_dataset(dict(type="A")) == dict(type="A", pipeline=[])


def test_leaves_of_built_datasets():
    first, second = TensorDataset(torch.zeros(3)), TensorDataset(torch.zeros(2))
    whole = ConcatDataset([first, Subset(second, [0])])
    assert leaf_datasets(whole) == [first, second]
    assert inner_datasets(whole) == whole.datasets
    assert leaf_datasets(first) == [first]
    assert inner_datasets(first) == []
    assert leaf_datasets(SimpleNamespace(dataset=SimpleNamespace(datasets=[first, second]))) == [
        first,
        second,
    ]
