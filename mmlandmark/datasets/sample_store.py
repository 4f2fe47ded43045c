"""Samples in memory that the main process and all of its workers share."""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

_COLUMNS = 3  # start and length of a sample in the heap, and the tag of what it was made by


class SampleStore:
    """What a data set gives, kept where it fits into so much memory.

    Memory is anonymous and shared with processes that are forked: the one that makes a sample first stores it
    for all, and workers of the next epoch find it, too. Pages cost nothing until something is written to
    them. Every caller gets an object of its own. A process that was not forked (start method "spawn") begins
    with an empty store.

    Args:
        count: Number of samples.
        max_gb: Memory in GiB. A sample is stored only if so many of its size fit.

    Raises:
        ValueError: ``max_gb`` is not positive.
        MemoryError: The system does not grant the memory.
    """

    def __init__(self, count: int, max_gb: float) -> None:
        if not max_gb > 0:
            raise ValueError(f"SampleStore: max_gb must be positive, got {max_gb!r}")
        self.count, self.max_gb = count, max_gb
        self._size = int(max_gb * 2**30)
        rows = max(1, count)
        try:
            self._heap = mmap.mmap(-1, self._size)
            self._table = np.frombuffer(mmap.mmap(-1, rows * _COLUMNS * 8), np.int64).reshape(rows, _COLUMNS)
            self._end = np.frombuffer(mmap.mmap(-1, 8), np.int64)
        except (OSError, ValueError, OverflowError) as error:
            raise MemoryError(
                f"SampleStore: the system grants no {max_gb:.2f} GiB of shared memory ({error}); lower max_gb"
            ) from error
        self._lock = multiprocessing.Lock()

    def fetch(self, index: int, made_by: Any, make: Callable[[], Any]) -> Any:
        """Return a sample from the store or, the first time, from ``make()``.

        Args:
            index: Of the sample, below ``count``.
            made_by: What else it depends on; anything with a ``repr`` that is the same in all processes. A
                sample that was made by something else is made again.
            make: Makes the sample, which can be pickled.
        """
        tag = int.from_bytes(hashlib.sha1(repr(made_by).encode()).digest()[:7], "big") + 1
        start, length, stored = self._table[index].tolist()
        if stored == tag:
            return pickle.loads(self._heap[start : start + length])
        sample = make()
        self._store(index, tag, pickle.dumps(sample, pickle.HIGHEST_PROTOCOL))
        return sample

    def _store(self, index: int, tag: int, content: bytes) -> None:
        if len(content) * self.count > self._size:
            return
        with self._lock:
            row = self._table[index]
            start = int(self._end[0])
            if int(row[2]) == tag or start + len(content) > self._size:
                return  # another worker was faster, or samples differ in size and the rest does not fit
            self._heap[start : start + len(content)] = content
            self._end[0] = start + len(content)
            row[2] = 0
            row[:2] = start, len(content)
            row[2] = tag  # Last: a reader that sees it, without the lock, finds the sample complete.

    def __getstate__(self) -> dict[str, Any]:
        # Shared memory is inherited by forking and cannot be pickled: the receiver starts empty.
        return dict(count=self.count, max_gb=self.max_gb)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict) -> SampleStore:
        return SampleStore(self.count, self.max_gb)  # what is copied may be changed
