"""Datasets that wrap other datasets."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from mmlandmark.datasets.random_draws import fixed, repetition
from mmlandmark.datasets.sample_store import SampleStore
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
        max_gb: Memory in GiB for fixed copies, which all workers share: each copy is made once, if all of
            them fit; else, and with 0, whenever it is asked for. Copies of images that get pseudo labels
            change with these, and are not kept.

    Raises:
        ValueError: ``times`` is below 1, or ``max_gb`` below 0.
        MemoryError: The system does not grant the memory.
    """

    def __init__(
        self,
        dataset: Dataset | dict,
        times: int,
        fixed: bool = False,
        lazy_init: bool = False,
        max_gb: float = 1.0,
    ) -> None:
        if times < 1 or not max_gb >= 0:
            raise ValueError(
                f"RepeatDataset: times must be at least 1 and max_gb at least 0, got {times} and {max_gb}"
            )
        self.dataset: Any = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.times, self.fixed, self.max_gb = times, fixed, max_gb
        self._store: SampleStore | None = None
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the annotations, unless that has been done."""
        self.dataset.full_init()
        if self.fixed and self.max_gb and self._store is None:
            self._store = SampleStore(len(self), self.max_gb)

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
        leaves = leaf_datasets(self.dataset)
        if self._store is None or any(getattr(leaf, "unlabelled", False) for leaf in leaves):
            return self._made(number, idx)
        made_by = [(getattr(leaf, "seed", None), id(getattr(leaf, "pipeline", None))) for leaf in leaves]
        at = number * len(self.dataset) + idx
        return self._store.fetch(at, made_by, lambda: self._made(number, idx))

    def _made(self, number: int, idx: int) -> Any:
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
