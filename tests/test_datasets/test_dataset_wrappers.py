"""Datasets around datasets."""

from __future__ import annotations

import pytest
from mmengine.dataset import ConcatDataset
from torch.utils.data import DataLoader, Subset

from mmlandmark.datasets import EndlessDataset, RepeatDataset, leaf_datasets, set_epoch, set_seed
from mmlandmark.registry import DATASETS
from test_datasets.six_cases import build, draw


def test_repeated_dataset_draws_anew_each_time(root):
    dataset = DATASETS.build(
        dict(
            type="RepeatDataset",
            times=3,
            dataset=dict(
                type="LandmarkDataset", ann_file="all.json", data_root=str(root), image_dir="images"
            ),
        )
    )
    dataset.dataset.pipeline = draw
    samples = [dataset[i] for i in range(len(dataset))]
    assert [s["id"] for s in samples[:6]] == [s["id"] for s in samples[6:12]]
    assert len({s["draw"] for s in samples}) == 18
    assert samples[0]["draw"] == dataset.dataset[0]["draw"]
    assert [dataset[i] for i in range(18)] == samples


def test_set_epoch_walks_through_wrappers(root):
    one, two = build(root, split="train"), build(root, split="test")
    wrapped = RepeatDataset(ConcatDataset([one, two]), 2)
    assert len(wrapped) == 12
    assert wrapped.metainfo["num_landmarks"] == 3
    assert wrapped[11]["sample_id"] == wrapped.get_data_info(11)["sample_id"] == "case5"
    assert set_epoch(Subset(wrapped, [0, 1]), 9) == 2
    assert (one.epoch, two.epoch) == (9, 9)
    assert set_epoch(object(), 1) == 0
    assert leaf_datasets(wrapped) == [one, two]
    assert set_seed(wrapped, 5) == 2
    assert (one.seed, two.seed) == (5, 5)
    with pytest.raises(ValueError, match="seed must be an integer"):
        set_seed(wrapped, -1)


def test_repeating_less_than_once_is_refused(root):
    with pytest.raises(ValueError, match="times must be at least 1"):
        RepeatDataset(build(root), 0)


def test_fixed_copies_are_the_same_in_every_epoch_and_process(root):
    fixed = RepeatDataset(build(root, pipeline=[draw]), 3, fixed=True)
    again = RepeatDataset(build(root, pipeline=[draw]), 3)
    first, drawn = list(fixed), list(again)
    assert first == drawn  # those of the first epoch
    assert len({sample["draw"] for sample in first}) == 18
    for dataset in (fixed, again):
        set_epoch(dataset, 1)
    assert list(fixed) == first
    assert not {sample["draw"] for sample in again} & {sample["draw"] for sample in drawn}
    # Beside them the draws go on, and a pass of a loop without epochs makes no difference.
    assert fixed.dataset[0]["draw"] != first[0]["draw"]
    assert EndlessDataset(fixed)[18 + 4] == first[4]
    loader = DataLoader(fixed, batch_size=None, num_workers=2)
    assert list(loader) == first
