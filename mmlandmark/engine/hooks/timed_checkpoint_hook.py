"""Checkpoints by the clock, and a stop within a time budget."""

from __future__ import annotations

import time
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.runner import Runner

from mmlandmark.engine.hooks.checkpoint_hook import CheckpointHook
from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class TimedCheckpointHook(CheckpointHook):
    """Save after the first epoch that ends a number of minutes after the last save, and stop in time.

    For machines with limited time: when the budget leaves no time for another epoch, the run is saved and
    ends with :class:`~mmlandmark.engine.UnfinishedRun`, so that nothing that builds on it begins.
    The same command with ``--resume`` resumes it.

    Args:
        every_minutes: Time between two checkpoints, at least.
        budget_minutes: Time from the start of this call after which no epoch should run on; None for no end.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ValueError: A time is not positive.
    """

    def __init__(
        self, every_minutes: float = 1.0, budget_minutes: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not every_minutes > 0 or (budget_minutes is not None and not budget_minutes > 0):
            raise ValueError(
                f"every_minutes and budget_minutes must be positive, got {every_minutes} and {budget_minutes}"
            )
        self.every, self.budget = 60 * every_minutes, 60 * budget_minutes if budget_minutes else None
        self._due = False

    def before_train(self, runner: Runner) -> None:
        """Start the clocks."""
        super().before_train(runner)
        self._start = self._saved = self._epoch_start = time.monotonic()
        self._longest = 0.0

    def after_train_epoch(self, runner: Runner) -> None:
        """Save, or save and stop, if it is time; the first process decides for all."""
        now = time.monotonic()
        # What is between two epochs, validation and saving, belongs to the epoch.
        self._longest = max(self._longest, now - self._epoch_start)
        self._epoch_start = now
        over = self.budget is not None and now - self._start + self._longest > self.budget
        decided = [over, over or now - self._saved >= self.every]
        broadcast_object_list(decided)
        over, self._due = decided
        super().after_train_epoch(runner)
        if self._due:
            self._saved = time.monotonic()
        if over and not self.is_last_train_epoch(runner):
            runner.train_loop.stop_training = runner.unfinished = True

    def every_n_epochs(self, runner: Runner, n: int, start: int = 0) -> bool:
        """Return whether to save now: by the clock, not by the number of epochs."""
        return self._due
