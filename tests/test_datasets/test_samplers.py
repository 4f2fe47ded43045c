"""Samplers that tell the data the pass."""

from __future__ import annotations

from itertools import islice

import pytest
from mmengine.dataset import ConcatDataset

from mmlandmark.datasets import (
    DefaultSampler,
    EndlessDataset,
    ImageFolderDataset,
    InfiniteSampler,
    LabelledShareSampler,
    PartsInTurnSampler,
    with_loader_sizes,
    with_unlabelled,
    without_end,
)
from test_datasets.six_cases import build, draw


def test_the_sampler_tells_the_data_the_epoch(root):
    dataset = build(root, pipeline=[draw])
    sampler = DefaultSampler(dataset, shuffle=True, seed=1)
    sampler.set_epoch(3)
    assert dataset.epoch == 3
    assert sorted(sampler) == list(range(6))


def test_indices_count_on_and_every_pass_draws_anew(root):
    dataset = EndlessDataset(build(root, pipeline=[draw]))
    indices = list(islice(iter(InfiniteSampler(dataset, shuffle=True, seed=0)), 18))
    for number in range(3):
        assert sorted(indices[6 * number : 6 * number + 6]) == list(range(6 * number, 6 * number + 6))
    samples = [dataset[i] for i in indices]
    assert len({sample["draw"] for sample in samples}) == 18
    assert {sample["id"] for sample in samples[:6]} == {sample["id"] for sample in samples[12:]}
    assert dataset[7] == dataset[7]


def test_a_loader_without_end_wraps_its_dataset():
    endless = dict(sampler=dict(type="InfiniteSampler"), dataset=dict(type="A"))
    assert without_end(endless)["dataset"] == dict(type=EndlessDataset, dataset=dict(type="A"))
    assert without_end(dict(endless, sampler=dict(type=InfiniteSampler)))["dataset"]["type"] is EndlessDataset
    finite = dict(sampler=dict(type="DefaultSampler"), dataset=dict(type="A"))
    assert without_end(finite) is finite
    built = object()
    assert without_end(built) is built


def half_labelled(root):
    """Two labelled samples, 0 and 1, and four without labels."""
    labelled = build(root, split="test", pipeline=[draw])
    rest = build(root, split="train", unlabelled=True, pipeline=[draw])
    return EndlessDataset(ConcatDataset([labelled, rest]))


def test_every_batch_has_the_same_share_of_labelled_samples(root):
    dataset = half_labelled(root)
    sampler = LabelledShareSampler(dataset, labelled=0.5, seed=3)
    indices = list(sampler)
    assert len(indices) == len(sampler) == 8
    assert [i % 6 < 2 for i in indices] == [False, True] * 4
    assert sorted(i for i in indices if i % 6 >= 2) == [2, 3, 4, 5]
    # Labelled samples come twice, with other draws.
    assert sorted(i for i in indices if i % 6 < 2) == [0, 1, 6, 7]
    assert len({dataset[i]["draw"] for i in indices if i % 6 < 2}) == 4
    sampler.set_epoch(1)
    assert list(sampler) != indices
    assert {leaf.epoch for leaf in dataset.dataset.datasets} == {1}
    assert sorted(LabelledShareSampler(dataset, labelled=0, seed=0)) == [2, 3, 4, 5]
    assert sorted(LabelledShareSampler(dataset, labelled=1, seed=0)) == [0, 1]
    assert [i % 6 < 2 for i in LabelledShareSampler(dataset, labelled=0.2, seed=0)] == [False] * 4 + [True]


def test_processes_share_an_epoch_with_as_many_labelled_samples_each(root, monkeypatch):
    dataset, drawn = half_labelled(root), []
    for rank in range(2):
        monkeypatch.setattr("mmlandmark.datasets.samplers.get_dist_info", lambda rank=rank: (rank, 2))
        drawn.append(list(LabelledShareSampler(dataset, labelled=0.5, seed=3)))
    assert [[i % 6 < 2 for i in indices] for indices in drawn] == [[False, True] * 2] * 2
    assert len({*drawn[0], *drawn[1]}) == 8


def test_a_share_of_what_is_not_there_is_refused(root):
    with pytest.raises(ValueError, match=r"no unlabelled samples, and their share is 0\.5"):
        LabelledShareSampler(EndlessDataset(build(root)), seed=0)
    with pytest.raises(ValueError, match=r"no labelled samples, and their share is 0\.25"):
        LabelledShareSampler(EndlessDataset(build(root, unlabelled=True)), labelled=0.25, seed=0)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 2"):
        LabelledShareSampler(EndlessDataset(build(root)), labelled=2)


def test_a_loader_with_unlabelled_images_holds_both():
    labelled = dict(type="LandmarkDataset", ann_file="a.json", split="train", pipeline=["a"])
    loader = dict(batch_size=2, dataset=labelled, unlabelled=dict(split="rest"))
    parts = with_unlabelled(loader)["dataset"]
    assert parts == dict(
        type="ConcatDataset", datasets=[labelled, dict(labelled, split="rest", unlabelled=True)]
    )
    fold = dict(fold=1, num_folds=3, fold_seed=2, fold_split="train")  # of the labelled split alone
    (_, rest) = with_unlabelled(dict(loader, dataset=dict(labelled, **fold)))["dataset"]["datasets"]
    assert rest == dict(labelled, split="rest", unlabelled=True)
    (_, same) = with_unlabelled(dict(dataset=dict(labelled, **fold), unlabelled={}))["dataset"]["datasets"]
    assert same["fold"] == 1
    folder = dict(type="ImageFolderDataset", image_dir="new")
    part = with_unlabelled(dict(loader, unlabelled=folder))["dataset"]["datasets"][1]
    assert part == dict(folder, labelled=labelled, pipeline=["a"], unlabelled=True)
    assert with_unlabelled(dict(loader, unlabelled=dict(type=ImageFolderDataset)))["dataset"]["datasets"][1]
    plain = dict(dataset=labelled)
    assert with_unlabelled(plain) is plain
    several = dict(
        dataset=dict(type="ConcatDataset", datasets=[labelled, labelled]), unlabelled=dict(split="x")
    )
    with pytest.raises(ValueError, match="the labelled data are 2 data sets; name a type"):
        with_unlabelled(several)


def test_parts_come_one_after_the_other(root, monkeypatch):
    dataset = ConcatDataset([build(root, split="train"), build(root, split="test")])
    sampler = PartsInTurnSampler(dataset, seed=1)
    orders = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert (sorted(orders[-1][:4]), sorted(orders[-1][4:])) == ([0, 1, 2, 3], [4, 5])
    assert dataset.datasets[1].epoch == 3
    assert len({tuple(order[:4]) for order in orders}) > 1
    assert list(sampler) == orders[-1]
    drawn = []
    for rank in range(4):
        monkeypatch.setattr("mmlandmark.datasets.samplers.get_dist_info", lambda rank=rank: (rank, 4))
        drawn.append(PartsInTurnSampler(dataset, seed=1))
    assert [len(list(one)) for one in drawn] == [len(one) for one in drawn] == [2] * 4
    assert sorted(next(iter(one)) for one in drawn) == [0, 1, 2, 3]
    assert {index for one in drawn for index in one} == set(range(6))
    with pytest.raises(ValueError, match="the data is one LandmarkDataset: add another part"):
        PartsInTurnSampler(build(root))


def test_a_sampler_that_asks_for_it_knows_its_loader():
    loader = dict(batch_size=3, num_workers=2, sampler=dict(type="ShardSampler", buffer=5))
    assert with_loader_sizes(loader)["sampler"] == dict(
        type="ShardSampler", buffer=5, workers=2, batch_size=3
    )
    fixed = dict(loader, sampler=dict(type="ShardSampler", workers=4))
    assert with_loader_sizes(fixed)["sampler"] == dict(type="ShardSampler", workers=4, batch_size=3)
    other = dict(loader, sampler=dict(type="DefaultSampler"))
    assert with_loader_sizes(other) is other
