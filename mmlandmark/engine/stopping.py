"""A training that was asked to stop: after the current step, at a point from which it can be continued.

A training by iterations saves the step at which it stops. One by epochs cannot be resumed within an epoch:
there the state of the last whole epoch counts, which is saved now if it was not, see
:meth:`~mmlandmark.engine.hooks.CheckpointHook.keep`.
"""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop, Runner

from mmlandmark.engine.hooks.checkpoint_hook import CheckpointHook
from mmlandmark.engine.processes import stop_if_asked
from mmlandmark.utils import stop_requests
from mmlandmark.utils.stop_requests import StopRequested


class StopHook(Hook):
    """Stop a training when a process of it was asked to, see :mod:`mmlandmark.utils.stop_requests`.

    A request is held within an epoch, where it must wait for the end of a step. Elsewhere a single process
    stops at once; several stop at the next step.
    """

    priority = "LOWEST"  # what else follows a step is done by then

    def before_train_epoch(self, runner: Runner) -> None:
        """Let requests wait for the end of a step."""
        stop_requests.hold()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop, if asked to.

        Not within accumulated gradients, and not just before the end of an epoch, which is saved.
        """
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            if _updated(runner.optim_wrapper):
                self._stop_at_step(runner)
        elif not self.end_of_epoch(runner.train_dataloader, batch_idx):
            stop_if_asked()

    def _stop_at_step(self, runner: Runner) -> None:
        try:
            stop_if_asked()
        except StopRequested:
            for hook in checkpoint_hooks(runner):
                hook.save_step(runner)
            raise

    def after_train_epoch(self, runner: Runner) -> None:
        """Keep the end of an epoch, from which the run can be continued."""
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            for hook in checkpoint_hooks(runner):
                hook.keep(runner, runner.epoch + 1)
            stop_if_asked()
            stop_requests.let_go()

    def before_val(self, runner: Runner) -> None:
        """Keep the step before a validation, which may be stopped at any time."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            for hook in checkpoint_hooks(runner):
                hook.keep(runner, runner.iter)
            stop_if_asked()
            stop_requests.let_go()

    def after_val(self, runner: Runner) -> None:
        """Let requests wait again."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            stop_requests.hold()


def checkpoint_hooks(runner: Runner) -> list[CheckpointHook]:
    """Return the hooks that save the checkpoints of a run from which it can be resumed exactly."""
    by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
    return [
        hook
        for hook in runner.hooks
        if isinstance(hook, CheckpointHook) and hook.by_epoch == by_epoch and hook.save_optimizer
    ][:1]


def _updated(wrapper: Any) -> bool:
    """Whether no gradient waits for the next steps, which a checkpoint would have to hold as well."""
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return all(one._inner_count % one._accumulative_counts == 0 for one in wrappers)
