"""Datasets around datasets."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import pytest
import torch
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


def counted(calls):
    """Return a pipeline step that notes its calls, also those in workers."""

    def step(results):
        with calls.get_lock():
            calls.value += 1
        return dict(id=results["sample_id"], image=torch.full((2, 3), results["rng"].random()), names=["a"])

    return step


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fixed_copy_is_made_once_for_all_epochs_and_workers(root, workers):
    """Workers of every epoch are new forks of this process."""
    calls = multiprocessing.Value("i", 0)
    copies = RepeatDataset(build(root, pipeline=[counted(calls)]), 3, fixed=True)
    loader = DataLoader(copies, batch_size=None, num_workers=workers, shuffle=False)
    epochs = []
    for epoch in range(3):
        set_epoch(copies, epoch)
        epochs.append([float(sample["image"][0, 0]) for sample in loader])
        assert calls.value == len(copies) == 18
    assert epochs[0] == epochs[1] == epochs[2]
    assert len(set(epochs[0])) == 18
    # Draws of another seed and another pipeline are made anew, and then kept, too.
    set_seed(copies, 7)
    again = [[float(copies[i]["image"][0, 0]) for i in range(18)] for _ in range(2)]
    assert again[0] == again[1]
    assert not set(again[0]) & set(epochs[0])
    assert calls.value == 36
    copies.dataset.pipeline = draw
    assert "draw" in copies[0]


def test_what_happens_to_a_copy_later_leaves_the_kept_one_alone(root):
    copies = RepeatDataset(build(root, pipeline=[counted(multiprocessing.Value("i", 0))]), 2, fixed=True)
    first = copies[4]
    value = float(first["image"][0, 0])
    for _ in range(2):
        sample = copies[4]
        assert (float(sample["image"].mean()), sample["names"]) == (pytest.approx(value), ["a"])
        sample["image"].zero_()
        sample["names"].append("b")
        first["image"].zero_()


def test_copies_that_are_too_large_are_made_anew(root):
    """And without ``fixed``, without memory, and of images whose pseudo labels change."""
    calls = multiprocessing.Value("i", 0)
    step = [counted(calls)]
    for options in (dict(fixed=True, max_gb=1e-6), dict(fixed=True, max_gb=0), dict(fixed=False)):
        copies = RepeatDataset(build(root, pipeline=step), 3, **options)
        before = calls.value
        assert copies[5]["id"] == copies[5]["id"]
        assert calls.value == before + 2
    copies = RepeatDataset(build(root, pipeline=step, unlabelled=True), 3, fixed=True)
    assert copies[5]["id"] == copies[5]["id"]
    assert calls.value == before + 4
    with pytest.raises(ValueError, match="max_gb at least 0, got 2 and -1"):
        RepeatDataset(build(root), 2, fixed=True, max_gb=-1)


def test_a_copy_of_the_data_set_keeps_copies_of_its_own(root):
    calls = multiprocessing.Value("i", 0)
    copies = RepeatDataset(build(root, pipeline=[draw]), 3, fixed=True)
    first = copies[7]
    for other in (copy.deepcopy(copies), pickle.loads(pickle.dumps(copies))):
        assert other[7] == first
        other.dataset.pipeline = counted(calls)
        assert "image" in other[7]
        assert copies[7] == first
