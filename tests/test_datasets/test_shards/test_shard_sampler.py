"""Every sample once per epoch, whole shards for processes and workers, and any batch to go on from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset, ShardedDataset
from mmlandmark.datasets.shards import ShardSampler, shard_sampler
from test_datasets.test_shards import packed_data


class Data:
    """A data set of which only the shards matter."""

    def __init__(self, counts):
        self.shard_numbers = np.repeat(np.arange(len(counts)), counts)
        self.epochs = []

    def __len__(self):
        return len(self.shard_numbers)

    def set_epoch(self, epoch):
        self.epochs.append(epoch)


@pytest.fixture
def of_rank(monkeypatch):
    def build(data, rank=0, world=1, epoch=0, seed=3, **options):
        monkeypatch.setattr(shard_sampler, "get_dist_info", lambda: (rank, world))
        sampler = ShardSampler(data, seed=seed, **options)
        sampler.set_epoch(epoch)
        return sampler

    return build


@pytest.mark.parametrize("buffer", [0, 5, 1000])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("counts", [(4, 4, 4, 4), (1, 9, 2, 5, 3, 3), (1,), (2, 1)])
def test_every_sample_comes_once_over_all_processes(of_rank, counts, world, workers, buffer):
    data = Data(counts)
    options = dict(world=world, workers=workers, batch_size=2, buffer=buffer, epoch=4)
    samplers = [of_rank(data, rank, **options) for rank in range(world)]
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])} == {-(-len(data) // world)}
    seen = Counter(index for part in parts for index in part)
    assert set(seen) == set(range(len(data)))
    assert sum(seen.values()) - len(data) < world, "no more is repeated than makes parts of one size"


@pytest.mark.parametrize("buffer", [0, 3])
def test_processes_and_workers_have_whole_shards(of_rank, buffer):
    data, world, workers, batch = Data([6] * 8), 2, 2, 2
    shards = []
    for rank in range(world):
        order = list(of_rank(data, rank, world, workers=workers, batch_size=batch, buffer=buffer))
        batches = [order[i : i + batch] for i in range(0, len(order), batch)]
        for worker in range(workers):
            mine = [index for batch in batches[worker::workers] for index in batch]
            counted = Counter(data.shard_numbers[mine].tolist())
            assert set(counted.values()) == {6}
            shards += counted
            if not buffer:  # one after the other
                assert [len(set(data.shard_numbers[mine[i : i + 6]])) for i in range(0, 12, 6)] == [1, 1]
    assert sorted(shards) == list(range(8))


def test_shards_of_any_size_are_cut_at_the_ends_of_parts_only(of_rank):
    data, world = Data((3, 8, 5, 2, 9, 4, 7)), 3
    parts = [set(of_rank(data, rank, world)) for rank in range(world)]
    owners = [
        sum(bool(part & set(np.flatnonzero(data.shard_numbers == shard).tolist())) for part in parts)
        for shard in range(7)
    ]
    assert sum(count - 1 for count in owners) <= world


def test_the_order_depends_on_seed_and_epoch_alone(of_rank):
    data = Data((4, 6, 5))
    first = list(of_rank(data))
    assert list(of_rank(data)) == first
    assert len({tuple(list(of_rank(data, epoch=e, seed=s))) for e in range(3) for s in range(2)}) == 6
    assert list(of_rank(data, shuffle=False)) == list(range(15))
    assert data.epochs[-1] == 0


def test_a_buffer_mixes_shards(of_rank):
    data = Data([5] * 10)
    numbers = data.shard_numbers[list(of_rank(data, buffer=20))]
    assert (np.diff(numbers) != 0).sum() > 20
    alone = data.shard_numbers[list(of_rank(data))]
    assert (np.diff(alone) != 0).sum() == 9


@pytest.mark.parametrize("options", [dict(), dict(buffer=7), dict(workers=3), dict(buffer=4, workers=2)])
@pytest.mark.parametrize("batches", range(0, 8))
def test_an_epoch_goes_on_at_any_batch(of_rank, options, batches):
    data = Data((3, 8, 5, 2, 9))
    whole = list(of_rank(data, 1, 2, epoch=2, batch_size=2, **options))
    resumed = of_rank(data, 1, 2, epoch=2, batch_size=2, **options)
    resumed.start_at(batches)
    assert list(resumed) == whole[2 * batches :]
    assert list(resumed) == whole, "the next epoch is whole"


def test_several_data_sets_are_joined(of_rank, tmp_path):
    parts = [
        ShardedDataset(str(packed_data.write(tmp_path / str(n), first=10 * n)), lazy_init=False)
        for n in range(2)
    ]

    class Joined:
        datasets = parts

        def __len__(self):
            return sum(map(len, self.datasets))

    sampler = of_rank(Joined(), shuffle=False)
    assert [shard.tolist() for shard in sampler.shards][3:] == [[8, 9, 10], [11, 12, 13], [14, 15]]
    assert list(sampler) == list(range(16))


def test_data_without_shards_are_refused(of_rank):
    with pytest.raises(ValueError, match="a LandmarkDataset has no shards; use ShardedDataset"):
        of_rank(LandmarkDataset(lazy_init=True))
    repeated = Data((2, 2))
    repeated.dataset = Data((2,))
    with pytest.raises(ValueError, match="no data set may be repeated"):
        of_rank(repeated)


@pytest.mark.parametrize("options", [dict(buffer=-1), dict(workers=-1), dict(batch_size=-2)])
def test_arguments_are_not_negative(of_rank, options):
    with pytest.raises(ValueError, match="must not be negative"):
        of_rank(Data((2,)), **options)
