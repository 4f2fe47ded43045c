"""Checkpoints by the clock, and a stop within a time budget."""

from __future__ import annotations

import time
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.runner import Runner

from mmlandmark.engine.hooks.checkpoint_hook import CheckpointHook
from mmlandmark.registry import HOOKS

_OFTEN = 1.0  # seconds between two decisions within an epoch: all processes wait for each


@HOOKS.register_module()
class TimedCheckpointHook(CheckpointHook):
    """Save after the first epoch that ends a number of minutes after the last save, and stop in time.

    For machines with limited time: when the budget leaves no time for another epoch, the run is saved and
    ends with :class:`~mmlandmark.engine.UnfinishedRun`, so that nothing that builds on it begins.
    The same command with ``--resume`` resumes it. In a run by iterations, with ``by_epoch=False``, the same
    holds for its steps.

    Args:
        every_minutes: Time between two checkpoints, at least.
        budget_minutes: Time from the start of this call after which no epoch, or step, should run on; None
            for no end.
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
        self._start = self._saved = self._begun = time.monotonic()
        self._longest = 0.0
        self._steps = self._left = 1  # from one decision to the next, where steps are short

    def after_train_epoch(self, runner: Runner) -> None:
        """Save, or save and stop, if it is time; the first process decides for all."""
        if not self.by_epoch:
            super().after_train_epoch(runner)
            return
        over = self._decide()
        super().after_train_epoch(runner)
        self._follow(runner, over and not self.is_last_train_epoch(runner))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Likewise, in a run by iterations."""
        if self.by_epoch:
            return
        self._left -= 1
        over = self._due = False
        if self._left <= 0:
            over = self._decide()
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._follow(runner, over and not self.is_last_train_iter(runner))

    def _decide(self) -> bool:
        """Decide what is due at the end of an epoch or a step, and return whether the time is over."""
        now = time.monotonic()
        # What is between two epochs or steps, validation and saving, belongs to the first one.
        took = now - self._begun
        self._longest, self._begun = max(self._longest, took), now
        over = self.budget is not None and now - self._start + self._longest > self.budget
        steps = max(1, int(self._steps * _OFTEN / max(took, 1e-6)))
        decided: list[Any] = [over, over or now - self._saved >= self.every, steps]
        broadcast_object_list(decided)
        over, self._due, self._steps = decided
        self._left = self._steps
        return over

    def _follow(self, runner: Runner, stop: bool) -> None:
        if self._due:
            self._saved = time.monotonic()
        if stop:
            runner.train_loop.stop_training = runner.unfinished = True

    def every_n_epochs(self, runner: Runner, n: int, start: int = 0) -> bool:
        """Return whether to save now: by the clock, not by the number of epochs."""
        return self._due

    def every_n_train_iters(self, runner: Runner, n: int, start: int = 0) -> bool:
        """Return whether to save now: by the clock, not by the number of iterations."""
        return self._due
