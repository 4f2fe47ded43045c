"""A run that stops when a metric has not improved for some validations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmengine import hooks
from mmengine.runner import Runner

from mmlandmark.engine.hooks.stateful_hook import StatefulHook
from mmlandmark.engine.training_state import BrokenStateError, as_count, as_number, of_type
from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(StatefulHook, hooks.EarlyStoppingHook):
    """MMEngine's hook, with a count that a resumed run keeps.

    A run that was stopped early stays stopped when it is resumed.

    Args:
        kwargs: See :class:`mmengine.hooks.EarlyStoppingHook`.
    """

    priority = "LOW"  # before the checkpoint hook saves a new best one, with the count

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stopped = False

    @staticmethod
    def watched_metrics(config: Mapping[str, Any]) -> list[str]:
        """Return the metric of a hook's config, see :mod:`mmlandmark.engine.run_checks`."""
        return [config["monitor"]] if isinstance(config.get("monitor"), str) else []

    def state_dict(self) -> dict[str, Any]:
        """Return the count of validations without an improvement, the best score, and whether to stop."""
        best = self.best_score if math.isfinite(self.best_score) else None
        return dict(wait_count=self.wait_count, best_score=best, stopped=self.stopped)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over count and score."""
        missing = {"wait_count", "best_score", "stopped"} - set(state)
        if missing:
            raise BrokenStateError(f"{sorted(missing)} missing")
        self.wait_count = as_count(state["wait_count"], "wait_count")
        self.stopped = of_type(state["stopped"], bool, "stopped")
        if state["best_score"] is not None:
            self.best_score = as_number(state["best_score"], "best_score")

    def before_train(self, runner: Runner) -> None:
        """Stop at once if the run had been stopped before."""
        if self.stopped:
            runner.train_loop.stop_training = True

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Decide whether to stop.

        Raises:
            ValueError: No metric reports what is monitored, so that the run would never stop.
        """
        if self.monitor not in (metrics or {}):
            raise ValueError(
                f"EarlyStoppingHook: monitor is {self.monitor!r}, which no metric reports; there are "
                f"{', '.join(sorted(metrics or {}))}"
            )
        super().after_val_epoch(runner, metrics or {})

    def _check_stop_condition(self, current_score: float) -> tuple[bool, str]:
        """Note this hook's own verdict: others stop the loop, too, and their run is to go on when resumed."""
        stop, reason = super()._check_stop_condition(current_score)
        self.stopped = self.stopped or stop
        return stop, reason
