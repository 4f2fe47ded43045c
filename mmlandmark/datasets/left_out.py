"""Samples that cannot be read: named, counted over all workers, and left out where that is allowed."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

_OF_IMAGES = (OSError, ValueError)  # what a pipeline raises if an image, or its labels, do not fit
# Errors of the system that may be about one file. The others are about the machine, a disk or a server.
_OF_A_FILE = frozenset(
    (
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM),
        *(errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EOVERFLOW),
    )
)


class UnavailableError(ValueError):
    """An image cannot be fetched: nothing is known about the image itself."""


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
        MemoryError, OSError, UnavailableError: See :func:`sample_or_reason`.
        ValueError: None of them can be read.
    """
    for step in range(len(dataset)):
        sample, reason = sample_or_reason(dataset, at := (index + step) % len(dataset))
        if reason is None:
            return sample
        dataset.left_out.tell(at, reason)
    raise ValueError(f"none of {len(dataset)} {dataset.left_out.what}s can be used; the last: {reason}")


def sample_or_reason(dataset: Any, index: int) -> tuple[Any, str | None]:
    """Return a sample, or None and what is wrong with its image.

    Raises:
        MemoryError: No memory was left to read it.
        OSError, UnavailableError, ValueError: Something else than the image is the reason: a disk is full or
            does not answer, a server cannot be reached, a shard is missing or altered.
    """
    try:
        return dataset.prepare_data(index), None
    except _OF_IMAGES as error:
        # The record alone: the method of a subclass may make the image, which is slow.
        image = BaseDataset.get_data_info(dataset, index).get("img_path")
        for cause in _causes(error):
            if isinstance(cause, MemoryError):
                raise cause from error
            fetched = image is None and cause is error
            if isinstance(cause, UnavailableError):
                raise
            if isinstance(cause, OSError) and (fetched or not _is_about(cause, image)):
                raise
        return None, str(error)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and those that have led to it."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return found


def _is_about(error: OSError, image: str | None) -> bool:
    """Return whether an image, or a file that belongs to it, may be the reason of an error of the system."""
    if error.errno is not None and error.errno not in _OF_A_FILE:
        return False
    if image is None or not isinstance(error.filename, str):
        return True
    own, file = Path(os.path.abspath(image)), Path(os.path.abspath(error.filename))
    return own in (file, *file.parents) or own.parent == file.parent
