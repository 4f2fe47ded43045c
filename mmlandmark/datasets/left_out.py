"""Samples that cannot be read: named, counted over all workers, and left out where that is allowed."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.logging import print_log

_OF_IMAGES = (OSError, ValueError)  # what a pipeline raises if an image, or its labels, do not fit


class LeftOut:
    """Which samples of a dataset could not be read, in memory that worker processes share.

    Args:
        count: Samples of the dataset.
        what: Words for one of them.
    """

    def __init__(self, count: int, what: str = "image") -> None:
        self.what = what
        self._told = torch.zeros(count, dtype=torch.bool).share_memory_()

    def tell(self, index: int, reason: object) -> None:
        """Warn, once over all workers, that a sample is left out."""
        if not self._told[index]:
            self._told[index] = True
            print_log(f"{self.what} left out: {reason}", "current", logging.WARNING)

    @property
    def indices(self) -> list[int]:
        """The samples that were left out, in any process that this one has forked."""
        return self._told.nonzero().flatten().tolist()

    def __deepcopy__(self, memo: dict) -> LeftOut:
        # A deep copy of a shared tensor would be private: workers of the copy could not reach it.
        return LeftOut(len(self._told), self.what)


def usable_sample(dataset: Any, index: int) -> Any:
    """Return a sample of a dataset or, if its image cannot be read, the next one that can be.

    Args:
        dataset: With ``prepare_data`` and ``left_out``.
        index: 0 to N - 1.

    Raises:
        ValueError: None of them can be read.
    """
    for step in range(len(dataset)):
        sample, reason = sample_or_reason(dataset, at := (index + step) % len(dataset))
        if reason is None:
            return sample
        dataset.left_out.tell(at, reason)
    raise ValueError(f"none of {len(dataset)} {dataset.left_out.what}s can be used; the last: {reason}")


def sample_or_reason(dataset: Any, index: int) -> tuple[Any, str | None]:
    """Return a sample, or None and why there is none.

    Raises:
        MemoryError: No memory was left to read it.
    """
    try:
        return dataset.prepare_data(index), None
    except _OF_IMAGES as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from error
        return None, str(error)
