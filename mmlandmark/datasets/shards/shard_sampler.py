"""A sampler that gives whole shards to processes and their workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmlandmark.datasets.dataset_wrappers import set_epoch
from mmlandmark.registry import DATA_SAMPLERS
from mmlandmark.utils.dataset_tree import leaf_datasets


@DATA_SAMPLERS.register_module()
class ShardSampler(Sampler):
    """The samples of :class:`ShardedDataset`, shard after shard, each once per epoch over all processes.

    The shards, in a new order in every epoch, are laid end to end and cut into equal parts, one for each
    process. So a process reads whole shards, apart from one at each end of its part, which it shares with its
    neighbour: otherwise processes would have different numbers of batches. If the samples do not divide, the
    first ones of the epoch are repeated at its end, and metrics count them once. Within a process every
    worker gets whole shards of its part, too.

    All depends on seed, epoch and arguments only, so an epoch can be resumed at any batch.

    Args:
        dataset: A :class:`ShardedDataset`, or several in a ``ConcatDataset``.
        shuffle: Shuffle the order of the shards, and the samples.
        buffer: Samples of consecutive shards among which the next one is drawn; 0 shuffles each shard alone.
        workers: Worker processes of the loader; None takes ``num_workers`` of the loader.
        batch_size: Of the loader; None takes that of the loader.
        seed: Of the order; None takes one that all processes share.

    Raises:
        ValueError: A part of the data set has no shards, or an argument is out of range.
    """

    takes_loader = True

    def __init__(
        self,
        dataset: Any,
        shuffle: bool = True,
        buffer: int = 0,
        workers: int | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.workers, self.batch_size = max(1, workers or 1), batch_size or 1
        if buffer < 0 or self.batch_size < 1 or (workers or 0) < 0:
            raise ValueError("ShardSampler: buffer, workers and batch_size must not be negative")
        self.rank, self.world_size = get_dist_info()
        self.dataset, self.shuffle, self.buffer = dataset, shuffle, buffer
        self.seed, self.epoch, self._skipped = sync_random_seed() if seed is None else seed, 0, 0
        self.shards = _members_by_shard(dataset)

    def __len__(self) -> int:
        """Samples of an epoch of this process."""
        return -(-len(self.dataset) // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, for the order of the samples and for the random draws of each."""
        self.epoch = epoch
        set_epoch(self.dataset, epoch)

    def start_at(self, batches: int) -> None:
        """Let the next epoch leave out its first batches, which were trained on before a run was resumed."""
        self._skipped = batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        skipped, self._skipped = self._skipped, 0
        streams = [self._shuffled(part, number) for number, part in enumerate(self._parts())]
        return islice(_in_turn(streams, self.batch_size), skipped, None)

    def _parts(self) -> list[list[np.ndarray]]:
        """Return the samples of this process by worker and shard."""
        order = list(range(len(self.shards)))
        if self.shuffle:
            order = torch.randperm(len(order), generator=self._generator(0)).tolist()
        total, begin, end = len(self.dataset), self.rank * len(self), (self.rank + 1) * len(self)
        own: list[np.ndarray] = []
        # The last processes may reach beyond the end, which is followed by the beginning again.
        for lap in range(begin // total, -(-end // total)):
            start, stop, at = begin - lap * total, end - lap * total, 0
            for number in order:
                first, last = max(0, start - at), min(len(self.shards[number]), stop - at)
                if first < last:
                    own.append(self._shard(number)[first:last])
                at += len(self.shards[number])
        return _dealt(own, self.workers)

    def _shard(self, number: int) -> np.ndarray:
        """Return the samples of a shard in the order of this epoch."""
        shard = self.shards[number]
        if not self.shuffle or self.buffer:
            return shard
        return shard[torch.randperm(len(shard), generator=self._generator(1, number)).numpy()]

    def _shuffled(self, part: Sequence[np.ndarray], worker: int) -> Iterator[int]:
        """Yield the samples of a worker; with a buffer, each is drawn from the next ones."""
        samples = (index for shard in part for index in shard.tolist())
        if not (self.shuffle and self.buffer):
            return samples
        return _buffered(samples, self.buffer, self._generator(2, self.rank, worker))

    def _generator(self, *what: int) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, self.epoch, *what]).generate_state(1)
        return torch.Generator().manual_seed(int(state[0]))


def _members_by_shard(dataset: Any) -> list[np.ndarray]:
    """Return the indices of the samples of every shard that has any."""
    shards: list[np.ndarray] = []
    offset = 0
    for leaf in leaf_datasets(dataset):
        numbers = getattr(leaf, "shard_numbers", None)
        if numbers is None:
            raise ValueError(
                f"ShardSampler: a {type(leaf).__name__} has no shards; use ShardedDataset, or DefaultSampler"
            )
        order = np.argsort(numbers, kind="stable")
        shards += np.split(offset + order, np.flatnonzero(np.diff(numbers[order])) + 1)
        offset += len(leaf)
    if offset != len(dataset):
        raise ValueError("ShardSampler: no data set may be repeated, or only in part, inside of another")
    return shards


def _dealt(shards: Sequence[np.ndarray], workers: int) -> list[list[np.ndarray]]:
    """Return shards dealt to so many workers, each to the one that has the fewest samples so far."""
    hands: list[list[np.ndarray]] = [[] for _ in range(workers)]
    totals = [0] * workers
    for shard in shards:
        least = totals.index(min(totals))
        hands[least].append(shard)
        totals[least] += len(shard)
    return hands


def _in_turn(streams: Sequence[Iterator[int]], batch: int) -> Iterator[int]:
    """Yield a batch of every stream in turn, as a loader gives batches to its workers.

    What a stream that has ended lacks is taken from the next ones.
    """
    wanted = 0
    for turn in count():
        if wanted:  # the last batch was not full: all have ended
            return
        wanted = batch
        for step in range(len(streams)):
            taken = list(islice(streams[(turn + step) % len(streams)], wanted))
            yield from taken
            wanted -= len(taken)
            if not wanted:
                break


def _buffered(samples: Iterable[int], size: int, generator: torch.Generator) -> Iterator[int]:
    """Yield samples in random order: each is drawn from as many as a buffer holds."""
    held: list[int] = []
    for sample in samples:
        held.append(sample)
        if len(held) > size:
            at = int(torch.randint(len(held), (1,), generator=generator))
            held[at], held[-1] = held[-1], held[at]
            yield held.pop()
    for at in torch.randperm(len(held), generator=generator).tolist():
        yield held[at]
