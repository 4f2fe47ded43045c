"""The few lines that a run prints on the terminal; the log file has everything."""

from __future__ import annotations

import datetime
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import IterBasedTrainLoop, Runner

from mmlandmark.engine.data_checks import SplitData, check_data
from mmlandmark.engine.optim_wrapper import AutocastOptimWrapper, precision_of
from mmlandmark.engine.processes import bare
from mmlandmark.evaluation.metrics import LandmarkMetric
from mmlandmark.structures import grid_unit
from mmlandmark.utils.disk_space import reason_of

QUIET_SECONDS = 10.0  # shortest time between two lines on epochs without a validation
_OF_MMENGINE = ("will be deprecated in future",)  # about MMEngine's own code, of no use to a user


class ConsoleFilter(logging.Filter):
    """Let through lines that are meant for the terminal, and every warning and error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the terminal shows a record."""
        if record.levelno >= logging.WARNING:
            return not any(text in record.getMessage() for text in _OF_MMENGINE)
        return getattr(record, "console", False)


class ConsoleFormatter(logging.Formatter):
    """The message alone; a warning or an error begins with that word."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = record.getMessage()
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


def quieten(logger: logging.Logger) -> None:
    """Let a logger's terminal show a few lines; its files are left as they are."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(ConsoleFilter())
            handler.setFormatter(ConsoleFormatter())


def go_on_without_log(logger: logging.Logger) -> None:
    """Let a run whose log cannot be written for lack of space say so once, in one line.

    Python would print the call stack for every line of the log.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = partial(_tell_full_disk, handler, handler.handleError)  # type: ignore[method-assign]


def _tell_full_disk(
    handler: logging.FileHandler, otherwise: Callable[[logging.LogRecord], None], record: logging.LogRecord
) -> None:
    reason = reason_of(sys.exc_info()[1])
    if reason is None:
        otherwise(record)
    elif handler.level <= logging.CRITICAL:
        handler.setLevel(logging.CRITICAL + 1)
        print(f"warning: {handler.baseFilename} cannot be written: {reason}", file=sys.stderr)


@contextmanager
def hushed() -> Iterator[None]:
    """Keep MMEngine's lines about environment variables, before there is a run, off the terminal."""
    logger, gist = MMLogger.get_current_instance(), ConsoleFilter()
    handlers = logger.handlers if logger.instance_name == "mmengine" else []  # a run's own is left as it is
    for handler in handlers:
        handler.addFilter(gist)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(gist)


def say(logger: logging.Logger, text: str) -> None:
    """Log a line and show it on the terminal."""
    logger.info(text, extra=dict(console=True))


def begin(runner: Runner, doing: str) -> None:
    """Check a run's data, and report its progress on the terminal.

    Args:
        runner: Before its loops are built.
        doing: ``train``, ``val`` or ``test``.

    Raises:
        FileNotFoundError: See :func:`~mmlandmark.engine.data_checks.check_data`.
        ValueError: Likewise.
    """
    splits = check_data(runner, doing)
    runner._hooks[:] = [hook for hook in runner._hooks if not isinstance(hook, ConsoleHook)]
    runner.register_hook(ConsoleHook(splits), priority="LOWEST")


class ConsoleHook(Hook):
    """Print what is trained, on which data, for how long and where; then a line per validation.

    Epochs without a validation are reported every :data:`QUIET_SECONDS`.

    Args:
        splits: The run's data, see :func:`~mmlandmark.engine.data_checks.check_data`.
    """

    def __init__(self, splits: Mapping[str, SplitData]) -> None:
        self.splits = dict(splits)
        self._best: float | None = None
        self._begun = self._reported = time.monotonic()
        self._first = 0

    def before_train(self, runner: Runner) -> None:
        """Print what is about to be trained."""
        self._begun = self._reported = time.monotonic()
        self._first = runner.iter
        self._head(runner, "train", ("train", "val"))
        loader, loop = runner.train_dataloader, runner.train_loop
        batch = f"batches of {_batch_size(loader)}" + f" on each of {get_world_size()}" * (
            get_world_size() > 1
        )
        plan = (
            f"{runner.max_iters} steps"
            if isinstance(loop, IterBasedTrainLoop)
            else f"{runner.max_epochs} epochs of {len(loader)} steps"
        )
        start = f", resumed after {self._position(runner)}" if runner.iter else ""
        say(runner.logger, f"  plan    {plan}, {batch}{start}")
        say(runner.logger, f"  folder  {_short(runner.work_dir)} (everything else is in the log there)")

    def before_test(self, runner: Runner) -> None:
        """Print what is about to be tested."""
        self._head(runner, "test", ("test",))
        say(runner.logger, f"  folder  {_short(runner.work_dir)} (everything else is in the log there)")

    def after_train_epoch(self, runner: Runner) -> None:
        """Report an epoch that no validation follows."""
        loop, done = runner.train_loop, runner.epoch + 1
        if isinstance(loop, IterBasedTrainLoop):
            return
        last = done == loop.max_epochs
        validated = done >= loop.val_begin and (done % loop.val_interval == 0 or last)
        if not (validated and runner.val_loop is not None):
            self._maybe_report(runner, f"epoch {done}/{loop.max_epochs}", at_once=last)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Report a loop without epochs from time to time."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            self._maybe_report(runner, f"step {runner.iter + 1}/{runner.max_iters}")

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Report a validation, in the line of its epoch."""
        if runner._train_loop is None or isinstance(runner._train_loop, dict):
            return
        self._report(runner, self._position(runner), self._measured(runner, metrics or {}))

    def after_train(self, runner: Runner) -> None:
        """Print how long it took."""
        say(runner.logger, f"trained in {_time(time.monotonic() - self._begun)}: {_short(runner.work_dir)}")

    def _head(self, runner: Runner, what: str, names: tuple[str, ...]) -> None:
        model = bare(runner)
        count = sum(p.numel() for p in model.parameters())
        parts = [
            type(getattr(model, k)).__name__ for k in ("backbone", "neck", "head") if getattr(model, k, None)
        ]
        kind = f"{type(model).__name__} ({', '.join(parts)})"
        title = os.path.splitext(os.path.basename(runner.cfg.filename or ""))[0]
        log = runner.logger
        say(log, f"{what} {title}".rstrip())
        size = f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count:,}"
        say(log, f"  model   {kind}, {size} parameters")
        say(log, f"  data    {self._data(names)}")
        wrapper = runner.optim_wrapper if what == "train" else None
        precision = "float32" if wrapper is None else precision_of(wrapper)
        chosen = isinstance(wrapper, AutocastOptimWrapper) and wrapper.asked == "auto"
        why = (
            " (this processor has no instructions for bfloat16)" if chosen and precision == "float32" else ""
        )
        say(log, f"  device  {_device(model)}, {precision}{why}")

    def _data(self, names: tuple[str, ...]) -> str:
        counts, landmarks, units, scales, dims = [], "", [], [], 2
        for name in names:
            part = self.splits.get(name)
            if part is None:
                continue
            lacking = 0 if part.split is None else int((~part.split.annotated.any(1)).sum())
            dims = part.metainfo.get("dims", 2)
            text = f"{name} {len(part.loader.dataset)}"
            counts.append(text + (f" ({lacking} without annotation)" if lacking else ""))
            if part.metainfo.get("num_landmarks"):
                landmarks = f"; {part.metainfo['num_landmarks']} landmarks in {dims}D"
            metrics = [metric for metric in part.metrics if isinstance(metric, LandmarkMetric)]
            units += [grid_unit(dims) if metric.unit == "px" else metric.unit for metric in metrics]
            if part.split is not None and any(m.unit == "mm" and m.reference is None for m in metrics):
                scales += [scale for scale in part.split.spacing.ravel() if scale > 0]
        unit = f"; errors in {', '.join(dict.fromkeys(units))}" if units else ""
        return ", ".join(counts) + landmarks + unit + _scale(scales, "pixel" if dims == 2 else "voxel")

    def _position(self, runner: Runner) -> str:
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            return f"step {runner.iter}/{runner.max_iters}"
        return f"epoch {runner.epoch}/{runner.max_epochs}"

    def _measured(self, runner: Runner, metrics: Mapping[str, float]) -> str:
        dims = (getattr(runner.val_dataloader.dataset, "metainfo", None) or {}).get("dims", 2)
        words = {"normalized": "", "px": f" {grid_unit(dims)}", "mm": " mm"}
        units = {
            (f"{m.prefix}/" if m.prefix else "") + "mre": words[m.unit]
            for m in runner.val_evaluator.metrics
            if isinstance(m, LandmarkMetric)
        }
        errors = [(key, metrics[key]) for key in units if key in metrics]
        if not errors:
            return "   ".join(f"{key} {float(value):.4g}" for key, value in list(metrics.items())[:3])
        history = runner.message_hub.log_scalars.get(f"val/{errors[0][0]}")  # a resumed run has a past
        values = [errors[0][1], *(() if history is None else history.data[0])]
        values += [] if self._best is None else [self._best]
        self._best = min((float(value) for value in values if not math.isnan(value)), default=math.inf)
        texts = [f"{k.replace('mre', 'MRE')} {float(v):.4g}{units[k]}" for k, v in errors]
        return "   ".join(texts) + f" (best {self._best:.4g})"

    def _maybe_report(self, runner: Runner, position: str, at_once: bool = False) -> None:
        if at_once or time.monotonic() - self._reported >= QUIET_SECONDS:
            self._report(runner, position, "")

    def _report(self, runner: Runner, position: str, measured: str) -> None:
        self._reported = time.monotonic()
        scalars = runner.message_hub.log_scalars
        loss, rate = scalars.get("train/loss"), scalars.get("train/lr")
        parts = [position]
        if loss is not None:
            parts.append(f"loss {loss.mean(len(runner.train_dataloader) or 1):.4g}")
        parts += [measured] if measured else []
        if rate is not None:
            parts.append(f"lr {rate.current():.2g}")
        # A hook after an epoch or a step comes before the loop has counted it.
        done, left = runner.iter - self._first, runner.max_iters - runner.iter
        if done > 0 and left > 0:
            parts.append(f"ETA {_time((self._reported - self._begun) / done * left)}")
        say(runner.logger, "   ".join(parts))


def _device(model: torch.nn.Module) -> str:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if device.type == "cuda":
        many = f" x {get_world_size()}" if get_world_size() > 1 else ""
        return torch.cuda.get_device_name(device) + many
    processes = f"{get_world_size()} processes of " if get_world_size() > 1 else ""
    threads = torch.get_num_threads()
    return f"{device.type.upper()}, {processes}{threads} thread{'s' if threads > 1 else ''}"


def _scale(scales: list[float], what: str) -> str:
    """Describe the size of a pixel or voxel: a wrong unit shows up here or nowhere."""
    if not scales:
        return ""
    ends = dict.fromkeys(f"{scale:.4g}" for scale in (min(scales), max(scales)))
    return f" ({' to '.join(ends)} mm per {what})"


def _batch_size(loader: Any) -> int:
    return loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1)


def _short(path: str) -> str:
    """Return a path below the current folder as a relative one."""
    near = os.path.relpath(path)
    return path if near.startswith("..") else near


def _time(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
