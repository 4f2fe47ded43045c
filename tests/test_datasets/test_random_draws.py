"""Random draws: seed, epoch, index and repetition, and nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from torch.utils.data import DataLoader

from mmlandmark.datasets.random_draws import SharedEpoch, repetition, sample_generator
from test_datasets.six_cases import build, draw, first


def test_draws_depend_on_seed_epoch_and_index_only(root):
    dataset = build(root, pipeline=[draw], seed=3)
    before = [s["draw"] for s in dataset]
    assert [s["draw"] for s in dataset] == before
    assert len(set(before)) == 6
    assert before[4] == np.random.default_rng((3, 0, 4)).random()
    dataset.set_epoch(1)
    after = [s["draw"] for s in dataset]
    assert not set(after) & set(before)
    assert build(root, pipeline=[draw], seed=4)[0]["draw"] != before[0]


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_epoch_reaches_workers_that_are_alive(root, context):
    dataset = build(root, pipeline=[draw], seed=7)
    loader = DataLoader(
        dataset, num_workers=2, persistent_workers=True, multiprocessing_context=context, collate_fn=first
    )
    for epoch in (0, 1, 5):
        dataset.set_epoch(epoch)
        expected = [np.random.default_rng((7, epoch, i)).random() for i in range(6)]
        assert [s["draw"] for s in loader] == expected


def test_copies_have_an_epoch_of_their_own_that_still_reaches_workers(root):
    dataset = build(root, pipeline=[draw])
    twin = copy.deepcopy(dataset)
    twin.set_epoch(4)
    assert (dataset.epoch, twin.epoch) == (0, 4)
    assert twin._epoch._cell.is_shared()
    assert dataset.get_subset([1, 2])._epoch._cell.is_shared()


def test_a_repetition_draws_anew():
    plain = sample_generator(1, 2, 3).random()
    token = repetition.set((4,))
    again = sample_generator(1, 2, 3).random()
    repetition.reset(token)
    assert again == np.random.default_rng((1, 2, 3, 4)).random()
    assert again != plain == sample_generator(1, 2, 3).random()
    assert copy.deepcopy(SharedEpoch(5)).get() == 5
