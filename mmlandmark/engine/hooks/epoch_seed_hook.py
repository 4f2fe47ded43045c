"""Random numbers that depend on seed and epoch alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmlandmark.datasets import set_epoch
from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Tell the training data its epoch and seed all generators from (seed, epoch, rank).

    So an epoch draws the same numbers whether or not the run was resumed before it, and with any number of
    workers. A loop that counts iterations has no epochs: there the
    generators are seeded before every iteration, from its number, and the samplers of
    :mod:`mmlandmark.datasets.samplers` tell the data the number of the pass.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed everything for the epoch that begins."""
        set_epoch(runner.train_dataloader.dataset, runner.epoch)
        _seed(runner, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed everything for the iteration that begins, where there are no epochs."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            _seed(runner, runner.iter)


def _seed(runner: Runner, number: int) -> None:
    state = np.random.SeedSequence([runner.seed or 0, number, runner.rank]).generate_state(2)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[0]))
