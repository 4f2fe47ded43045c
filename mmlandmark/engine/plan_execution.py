"""Running a plan: in order, resumed after a kill, and shared by processes and machines.

Every process that runs the same plan in the same folder takes what is free: a run is locked while it runs, a
run that is locked by another process is skipped and visited again, and a run whose inputs are being made
elsewhere waits for them.
"""

from __future__ import annotations

import functools
import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmlandmark.engine.checkpoint_files import latest_checkpoint
from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.plan import Node, state_of
from mmlandmark.engine.processes import main_process_decides, stop_if_asked, wait_for_all
from mmlandmark.engine.run_folder import TrainedRun
from mmlandmark.engine.run_lock import RunLock

Train = Callable[[Config], Mapping[str, Any]]


def execute_plan(
    plan: Node, train: Train, only: Sequence[Node] | None = None, poll: float = 10.0
) -> dict[str, TrainedRun]:
    """Run what is not finished of a plan; the same call again resumes it.

    Args:
        plan: The root.
        train: Trains one config and returns its metrics. Its ``work_dir``, ``resume`` and ``load_from`` are
            set, references are replaced by files, and its folder is locked.
        only: Run these nodes alone; runs that they need must be finished, or be running elsewhere.
        poll: Seconds between two looks at runs of other processes.

    Returns:
        What every finished training left behind, by the path of its node.

    Raises:
        ConfigError: A folder holds another run; an input kept no best checkpoint; or ``only`` needs a run
            that is not finished.
        StopRequested: The process was asked to stop, see :mod:`mmlandmark.utils.stop_requests`.
    """
    targets = [plan] if only is None else list(only)
    allowed = plan.walk() if only is None else (node for target in targets for node in target.walk())
    work = _Work(train, {id(node) for node in allowed})
    main_process_decides(lambda: _check_folders(targets))
    reported: set[str] = set()
    while True:
        before = work.progress
        reasons = [reason for node in targets if (reason := work.visit(node)) is not None]
        if not reasons:
            return _results(plan)
        if work.progress == before:
            for reason in dict.fromkeys(reasons):
                if reason not in reported:
                    print_log(f"waiting: {reason}", "current")
                reported.add(reason)
            time.sleep(poll)
            stop_if_asked()


def _check_folders(nodes: Sequence[Node]) -> None:
    """Raise ConfigError before anything runs if a folder that is to be used holds another run."""
    for node in nodes:
        if node.wanted and not node.finished():
            if node.config is not None:
                node.trained()
            _check_folders(node.children)


def _results(plan: Node) -> dict[str, TrainedRun]:
    def read() -> dict[str, TrainedRun]:
        return {run.path: trained for run in plan.runs() if (trained := _left_behind(run)) is not None}

    return main_process_decides(read)


def _left_behind(run: Node) -> TrainedRun | None:
    """Return what a training left; nothing for a run on record with a folder that another run has taken."""
    try:
        return None if run.config is None else run.trained()
    except ConfigError:
        return None


@dataclass
class _Work:
    """One process's work on a plan.

    Attributes:
        train: See :func:`execute_plan`.
        allowed: Ids of the nodes that may be run.
        progress: Number of things done so far.
    """

    train: Train
    allowed: set[int]
    progress: int = 0
    reported: set[str] = field(default_factory=set)

    def visit(self, node: Node) -> str | None:
        """Run a node and what it needs; return why it has to wait, None once it is finished."""
        always = any(step.always for step in node.steps)
        if not always and main_process_decides(node.finished):
            self._log_finished(node)
            return None
        reasons = [self.visit(child) for child in node.children if child.wanted]
        reasons += [self._need(node, needed) for needed in node.inputs]
        reason = next((reason for reason in reasons if reason is not None), None)
        if reason is not None or (node.children and not node.steps):
            return reason
        return self._run(node, with_steps=True)

    def _need(self, node: Node, needed: Node) -> str | None:
        """See to it that a run is trained; return why that takes longer, None once it is."""
        if main_process_decides(needed.trained) is not None:
            return None
        if id(needed) not in self.allowed:
            state, detail = main_process_decides(lambda: state_of(needed))
            if state == "running":
                return f"{node.path} needs {needed.path}, which is running {detail}"
            if main_process_decides(needed.trained) is not None:
                return None  # it ended between the two looks
            raise ConfigError(f"run {node.path!r} needs {needed.path!r}, which is not finished: run it first")
        reasons = [self._need(needed, other) for other in needed.inputs]
        reason = next((reason for reason in reasons if reason is not None), None)
        return reason or self._run(needed, with_steps=False)

    def _run(self, node: Node, with_steps: bool) -> str | None:
        """Train a node and run its steps, unless another process does."""
        stop_if_asked()
        lock = RunLock(node.folder)
        busy, trained = main_process_decides(lambda: _take(node, lock))
        if busy is not None:
            return busy
        try:
            if node.config is not None and not trained:
                self._train(node)
            for step in node.steps if with_steps else ():
                stop_if_asked()
                if step.always or not main_process_decides(functools.partial(step.done, node)):
                    metrics = step.run(node)
                    if not step.always:
                        _note_step(node, step.name, metrics)
                    self.progress += 1
        finally:
            lock.release()
        return None

    def _train(self, node: Node) -> None:
        checkpoints, resume = main_process_decides(lambda: _starting_point(node))
        config = node.ready(checkpoints)
        if resume:
            config.resume, config.load_from = True, None
        metrics = self.train(config)
        wait_for_all()  # the process that writes the checkpoint may be the last to end the run
        main_process_decides(lambda: node.run_folder.finish_training(metrics))
        self.progress += 1
        gc.collect()  # a runner and its loops hold each other

    def _log_finished(self, node: Node) -> None:
        runs = [run for run in node.walk() if not run.children and run.path not in self.reported]
        for run in runs:
            self.reported.add(run.path)
            where = main_process_decides(functools.partial(_where, run))
            print_log(f"run {run.path!r} is finished{where}", "current")


def _note_step(node: Node, step: str, metrics: Mapping[str, Any]) -> None:
    main_process_decides(lambda: node.run_folder.finish_step(step, metrics))


def _where(run: Node) -> str:
    trained = _left_behind(run)
    return "" if trained is None else f": {trained.folder / trained.checkpoint}"


def _take(node: Node, lock: RunLock) -> tuple[str | None, bool]:
    """Lock a node's folder and claim it; return why that is not possible now, and whether it is trained."""
    noted = node.config is not None or not all(step.always for step in node.steps)
    if noted:
        node.run_folder.read()
    if not lock.acquire():
        owner = lock.holder() or dict(host="another host")
        return f"{node.path} is running on {owner.get('host')}, process {owner.get('pid', '?')}", False
    try:
        if noted:
            node.run_folder.begin()
        return None, node.config is not None and node.trained() is not None
    except BaseException:
        lock.release()
        raise


def _starting_point(node: Node) -> tuple[dict[str, str], bool]:
    """Return the files that references stand for, and whether a run has a checkpoint of its own."""
    checkpoints = {}
    for text, (needed, which) in node.references.items():
        trained = needed.trained()
        assert trained is not None
        file = trained.file(which)
        if file is None:
            raise ConfigError(
                f"{text!r}: run {needed.path!r} kept no best checkpoint; set save_best in its checkpoint hook"
            )
        checkpoints[text] = os.fspath(file)
    return checkpoints, latest_checkpoint(node.folder) is not None
