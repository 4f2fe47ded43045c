"""Random draws of a sample, which depend on the seed, the epoch, the index and the repetition."""

from __future__ import annotations

from contextvars import ContextVar

import numpy as np
import torch

# Which repetition of a repeated dataset is being read, so that it draws other random numbers.
repetition: ContextVar[tuple[int, ...]] = ContextVar("repetition", default=())
# Whether draws are those of the first epoch in all epochs.
fixed: ContextVar[bool] = ContextVar("fixed", default=False)


class SharedEpoch:
    """An epoch number in shared memory: living workers see what the main process sets."""

    def __init__(self, value: int = 0) -> None:
        self._cell = torch.tensor([value], dtype=torch.int64).share_memory_()

    def get(self) -> int:
        """Return the epoch."""
        return int(self._cell[0])

    def set(self, value: int) -> None:
        """Set the epoch, here and in all workers."""
        self._cell[0] = value

    def __deepcopy__(self, memo: dict) -> SharedEpoch:
        # A deep copy of a shared tensor would be private, and set_epoch would no longer reach the workers.
        return SharedEpoch(self.get())


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of one sample; it does not depend on the worker that reads the sample."""
    return np.random.default_rng((seed, 0 if fixed.get() else epoch, index, *repetition.get()))
