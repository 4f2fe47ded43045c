"""Random numbers that depend on seed and epoch alone."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.datasets import set_epoch
from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Tell the training data its epoch and seed all generators from (seed, epoch, rank).

    So an epoch draws the same numbers whether the run came to it without a break or was resumed right
    before it, and however many workers load the data.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed everything for the epoch that begins."""
        set_epoch(runner.train_dataloader.dataset, runner.epoch)
        state = np.random.SeedSequence([runner.seed or 0, runner.epoch, runner.rank]).generate_state(2)
        random.seed(int(state[0]))
        np.random.seed(int(state[1]))
        torch.manual_seed(int(state[0]))
