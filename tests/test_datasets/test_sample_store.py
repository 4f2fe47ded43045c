"""Samples that are kept in shared memory."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from mmlandmark.datasets.sample_store import SampleStore
from two_processes import in_two


def test_it_gives_back_what_was_stored_as_objects_of_their_own():
    store = SampleStore(2, 0.01)
    made = store.fetch(1, "seed 0", lambda: dict(image=torch.arange(4), id="one"))
    made["image"].zero_()
    for _ in range(2):
        found = store.fetch(1, "seed 0", lambda: pytest.fail("made again"))
        assert (found["id"], found["image"].tolist()) == ("one", [0, 1, 2, 3])
        found["image"].zero_()


def test_what_was_made_by_something_else_is_made_again():
    store = SampleStore(1, 0.01)
    assert [store.fetch(0, seed, lambda seed=seed: f"by {seed}") for seed in (0, 1)] == ["by 0", "by 1"]
    assert store.fetch(0, 1, lambda: "again") == "by 1"


def test_it_keeps_nothing_beyond_its_memory():
    store = SampleStore(4, 4000 / 2**30)
    for content, kept in ((bytes(2000), "anew"), (bytes(800), bytes(800))):  # four of the first do not fit
        store.fetch(0, "first", lambda content=content: content)
        assert store.fetch(0, "first", lambda: "anew") == kept
        store = SampleStore(4, 4000 / 2**30)
    # Samples that are made by one thing after the other are kept while there is room.
    made = [store.fetch(1, n, lambda n=n: (n, bytes(800))) for n in range(9)]
    assert [number for number, _ in made] == list(range(9))
    assert store.fetch(1, 8, lambda: "anew") == "anew"
    assert int(store._end[0]) <= 4000


def stored_by(store):
    return store.fetch(0, 0, lambda: 1), store.fetch(1, 0, lambda: torch.distributed.get_rank())


def test_forked_processes_share_it():
    store = SampleStore(2, 0.01)
    assert store.fetch(0, 0, lambda: 0) == 0
    first, second = in_two(stored_by, store)
    assert first[0] == second[0] == 0
    assert store.fetch(1, 0, lambda: pytest.fail("a rank has made it")) in (first[1], second[1])


def test_a_copy_begins_empty():
    store = SampleStore(1, 0.01)
    store.fetch(0, 0, lambda: "first")
    for other in (copy.deepcopy(store), pickle.loads(pickle.dumps(store))):
        assert other.fetch(0, 0, lambda: "second") == "second"
    assert store.fetch(0, 0, lambda: "third") == "first"


def test_memory_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="max_gb must be positive, got 0"):
        SampleStore(1, 0)
    with pytest.raises(MemoryError, match=r"grants no \d+\.\d\d GiB .*; lower max_gb"):
        SampleStore(1, 1e9)
