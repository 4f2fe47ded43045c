"""Datasets that wrap other datasets."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from mmlandmark.datasets.random_draws import fixed, repetition
from mmlandmark.registry import DATASETS
from mmlandmark.utils.dataset_tree import leaf_datasets


@DATASETS.register_module()
class RepeatDataset(Dataset):
    """A dataset repeated several times, each time with other random draws.

    It replaces the class of this name in MMEngine, which passes the same index to the dataset again: a seeded
    pipeline would return the same augmented image.

    Args:
        dataset: Dataset, wrapper, or the config of one.
        times: Number of repetitions, at least 1.
        fixed: Draw the same in every epoch and pass: each sample has ``times`` augmented copies, as if these
            had been written to disk before the training.
        lazy_init: Read nothing before it is needed.
    """

    def __init__(
        self, dataset: Dataset | dict, times: int, fixed: bool = False, lazy_init: bool = False
    ) -> None:
        if times < 1:
            raise ValueError(f"RepeatDataset: times must be at least 1, got {times}")
        self.dataset: Any = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.times, self.fixed = times, fixed
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the annotations, unless that has been done."""
        self.dataset.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """The metainfo of the repeated dataset."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return self.times * len(self.dataset)

    def __getitem__(self, idx: int) -> Any:
        """Return sample ``idx % len(dataset)`` in repetition ``idx // len(dataset)``."""
        if not -len(self) <= idx < len(self):
            raise IndexError(f"index {idx} is out of range for {len(self)} samples")
        return self.in_pass(*divmod(idx % len(self), len(self.dataset)))

    def in_pass(self, number: int, idx: int) -> Any:
        """Return sample ``idx`` of the dataset with the random draws of a pass, counted from 0."""
        before = () if self.fixed else repetition.get()
        draws, same = repetition.set((*before, number)), fixed.set(self.fixed or fixed.get())
        try:
            return self.dataset[idx]
        finally:
            repetition.reset(draws)
            fixed.reset(same)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the record of sample ``idx``."""
        return self.dataset.get_data_info(idx % len(self.dataset))


def set_epoch(dataset: Any, epoch: int) -> int:
    """Set the epoch of every dataset inside ``dataset``; return their number."""
    leaves = [leaf for leaf in leaf_datasets(dataset) if hasattr(leaf, "set_epoch")]
    for leaf in leaves:
        leaf.set_epoch(epoch)
    return len(leaves)


def set_seed(dataset: Any, seed: int) -> int:
    """Set the seed of every dataset inside ``dataset``; return their number.

    Worker processes copy the seed when they start, so call this before the first batch.
    """
    leaves = [leaf for leaf in leaf_datasets(dataset) if hasattr(leaf, "set_seed")]
    for leaf in leaves:
        leaf.set_seed(seed)
    return len(leaves)
