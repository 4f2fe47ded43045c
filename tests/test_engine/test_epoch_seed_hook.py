"""Random numbers depend on seed, epoch and process alone."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import IterBasedTrainLoop

from mmlandmark.engine.hooks import EpochSeedHook


@pytest.fixture(autouse=True)
def _restored():
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def runner(seed=0, epoch=0, rank=0, iteration=0, loop=None):
    dataset = SimpleNamespace(set_epoch=lambda epoch: None)
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(
        seed=seed, epoch=epoch, rank=rank, iter=iteration, train_loop=loop, train_dataloader=loader
    )


def drawn():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def of_epoch(**kwargs):
    EpochSeedHook().before_train_epoch(runner(**kwargs))
    return drawn()


def test_an_epoch_draws_the_same_whatever_was_drawn_before():
    first = of_epoch(seed=3, epoch=2)
    drawn()
    assert of_epoch(seed=3, epoch=2) == first
    others = [of_epoch(seed=3, epoch=1), of_epoch(seed=2, epoch=2), of_epoch(seed=3, epoch=2, rank=1)]
    assert len({first, *others}) == 4
    assert of_epoch(seed=None) == of_epoch(seed=0)


def test_where_there_are_no_epochs_every_iteration_is_seeded():
    hook, loop = EpochSeedHook(), IterBasedTrainLoop.__new__(IterBasedTrainLoop)
    hook.before_train_iter(runner(iteration=5, loop=loop), 0)
    first = drawn()
    hook.before_train_iter(runner(iteration=6, loop=loop), 0)
    assert drawn() != first
    hook.before_train_iter(runner(iteration=5, loop=loop), 0)
    assert drawn() == first
    before = torch.get_rng_state()
    hook.before_train_iter(runner(iteration=5), 0)
    assert torch.equal(torch.get_rng_state(), before), "epochs are seeded as a whole"
