"""Where in the data a resumed loop by iterations goes on.

MMEngine loads all batches of the run again that were trained on, and throws them away. That gives the right
batch, after hours of reading where the data are large. A sampler with ``start_at`` leaves them out instead.
"""

from __future__ import annotations

from typing import Any

from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator


class LaterBatches(_InfiniteDataloaderIterator):
    """The batches of a loader without end, from one of them on.

    The loop asks for those before it all the same: they are None.

    Args:
        dataloader: With a sampler that has ``set_epoch(epoch)`` and ``start_at(batches)``.
        done: Batches that are left out.
    """

    def __init__(self, dataloader: Any, done: int) -> None:
        self._dataloader, self._left = dataloader, done
        self._passes, self._batches = divmod(done, len(dataloader))
        self._started = False

    def __next__(self) -> Any:
        """Return the next batch, or None for one that is left out."""
        if self._left:
            self._left -= 1
            return None
        if not self._started:  # only now: hooks set the epoch of the data when the loop begins
            self._started = True
            sampler = self._dataloader.sampler
            sampler.set_epoch(self._passes)
            sampler.start_at(self._batches)
            super().__init__(self._dataloader)
            self._epoch = self._passes
        return super().__next__()


def skip_done_batches(loop: IterBasedTrainLoop) -> None:
    """Let a loop go on with the batch of its iteration, where its sampler can leave out those before."""
    if loop.iter and hasattr(loop.dataloader.sampler, "start_at"):
        loop.dataloader_iterator = LaterBatches(loop.dataloader, loop.iter)
