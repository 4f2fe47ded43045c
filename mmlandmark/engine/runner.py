"""The runner: MMEngine's, with checks before training starts."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmlandmark.engine import console
from mmlandmark.engine.checkpoint_files import clean_temporaries, latest_checkpoint
from mmlandmark.engine.compilation import compile_networks
from mmlandmark.engine.config import ConfigError, is_of_model
from mmlandmark.engine.config_data import config_to_data
from mmlandmark.engine.data_dims import with_data_dims
from mmlandmark.engine.data_parallel import (
    check_wrapping,
    complete_auto_scale,
    scale_base_rates,
    with_scaled_rates,
    wrapper_options,
)
from mmlandmark.engine.hooks.invalid_loss_hook import InvalidLossHook
from mmlandmark.engine.inputs import inputs_of, trained_on
from mmlandmark.engine.left_out_report import LeftOutReport
from mmlandmark.engine.log_bounds import HistoryBounds, bound_backends, bound_text
from mmlandmark.engine.mmengine_cures import applied
from mmlandmark.engine.processes import leave_requests_to_parent, start_processes, wait_for_all
from mmlandmark.engine.run_folder import forget_run
from mmlandmark.engine.run_lock import RunLock
from mmlandmark.engine.runner_checkpoints import CheckpointedRunner
from mmlandmark.engine.schedules import spanning
from mmlandmark.engine.shared_statistics import SharedStatistics
from mmlandmark.engine.stopping import StopHook
from mmlandmark.models.shared_divisor import share_batches
from mmlandmark.registry import DATASETS
from mmlandmark.utils import stop_requests
from mmlandmark.utils.disk_space import naming_full_disk
from mmlandmark.utils.host_memory import keep_freed_memory
from mmlandmark.utils.stop_requests import StopRequested


class UnfinishedRun(RuntimeError):
    """A run was saved and stopped before its end; it can be resumed."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command resumes it


_begun: Counter[str] = Counter()  # runs of this process, by the second they began in


class _Begin(Hook):
    """Write the config when a run begins, and make up for a validation that a kill prevented.

    The best checkpoint and schedules that follow a metric are then what they would be without the kill.
    """

    def before_train(self, runner: LandmarkRunner) -> None:
        if is_main_process():
            runner._write_config()
            if not runner.locked:  # a plan keeps its notes itself
                forget_run(runner.work_dir)
        _warn_of_idle(runner)
        loop, state = runner.train_loop, runner.resumed
        if state is None or state.validated or runner.val_loop is None:
            return
        by_iteration = isinstance(loop, IterBasedTrainLoop)
        step, length = (loop.iter, loop.max_iters) if by_iteration else (loop.epoch, loop.max_epochs)
        loop._decide_current_val_interval()
        if step >= max(loop.val_begin, 1) and (step % loop.val_interval == 0 or step == length):
            runner.val_loop.run()


class LandmarkRunner(CheckpointedRunner):
    """Train, validate and test a configured detector.

    Differences from :class:`mmengine.runner.Runner`: checkpoints are written atomically and must fit the
    model they are loaded into (``load_strict=False`` in the config allows a partial start for fine-tuning);
    data are checked against the model before the first batch; no step is taken by a loss or a gradient that
    is not finite (:class:`~mmlandmark.engine.hooks.InvalidLossHook`), unless the config has
    ``default_hooks.invalid_loss=None``; several processes work without a GPU. MMEngine is changed while the
    runner is built and while it runs, see :mod:`mmlandmark.engine.mmengine_cures`.

    Attributes:
        unfinished: Set by a hook that stops the run before its end.
    """

    unfinished = False
    _guarded = True  # against losses that are not finite
    _rate_ratio = 1.0  # of the learning rate to that in the config

    @applied
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with naming_full_disk(kwargs.get("work_dir", "")):
            super().__init__(*args, **kwargs)

    def setup_env(self, env_cfg: dict) -> None:
        """Start gloo where MMEngine would ask for CUDA, watch over all processes, then do as MMEngine does.

        Without a GPU ``env_cfg.keep_freed_memory`` (default True) speeds up training, see
        :func:`~mmlandmark.utils.host_memory.keep_freed_memory`.
        """
        if env_cfg.get("keep_freed_memory", True) and not torch.cuda.is_available():
            keep_freed_memory()
        if not torch.cuda.is_available():
            start_processes(self.cfg)
        super().setup_env(env_cfg)
        start_processes(self.cfg)  # that MMEngine has let meet
        # MMEngine names logs by the second a run begins in; a second run within it would join the first's.
        _begun[self._timestamp] += 1
        if _begun[self._timestamp] > 1:
            self._timestamp += f"_{_begun[self._timestamp]}"

    def build_logger(self, *args: Any, **kwargs: Any) -> Any:
        """Build the log; the terminal shows a few lines of it unless ``env_cfg.verbose`` is set."""
        logger = super().build_logger(*args, **kwargs)
        environment = self.cfg.get("env_cfg") or {}
        bound_text(logger, environment)
        console.go_on_without_log(logger)
        if not environment.get("verbose", False):
            console.quieten(logger)
        return logger

    def build_visualizer(self, *args: Any, **kwargs: Any) -> Any:
        """Build the visualizer, with the bounds of ``env_cfg`` for what it writes."""
        visualizer = super().build_visualizer(*args, **kwargs)
        bound_backends(visualizer, self.cfg.get("env_cfg") or {})
        return visualizer

    def dump_config(self) -> None:
        """Write a test's config; that of a training is written once the run is sure to begin."""
        self._resolved = config_to_data(self.cfg)
        if self._train_loop is None:
            self._write_config()

    def _write_config(self) -> None:
        """Write the config, under the same name however often the run is started."""
        path = Path(self.cfg.filename or "config.py")
        name = path.with_suffix(".py").name if is_of_model(self.cfg) else path.name
        self.cfg.dump(os.path.join(self.work_dir, name))

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Register hooks that every run has; ``invalid_loss=None`` leaves that one out, as for MMEngine's."""
        hooks = dict(hooks or {})
        self._guarded = hooks.get("invalid_loss", ...) is not None
        if not self._guarded:
            del hooks["invalid_loss"]
        super().register_default_hooks(hooks)

    def _guard(self) -> None:
        """Let exactly one hook look for losses that are not finite, unless the config wants none."""
        guards = [hook for hook in self.hooks if isinstance(hook, InvalidLossHook)]
        if len(guards) > 1:
            raise ConfigError(
                f"there are {len(guards)} hooks InvalidLossHook, where the first would decide: configure "
                "default_hooks.invalid_loss, and leave it out of custom_hooks"
            )
        if self._guarded and not guards:
            self.register_hook(InvalidLossHook())

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model for images of as many dimensions as the data has."""
        if isinstance(model, dict):
            loaders = (self._train_dataloader, self._val_dataloader, self._test_dataloader)
            self.cfg.model = model = with_data_dims(model, loaders)
        return super().build_model(model)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap for several processes; without a GPU there are no device ids.

        Raises:
            ConfigError: See :func:`~mmlandmark.engine.data_parallel.check_wrapping`.
        """
        check_wrapping(self.cfg, self.distributed)
        if not self.distributed or is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        wrapped = super().wrap_model(wrapper_options(self.cfg, model, model_wrapper_cfg), model)
        share_batches(wrapped)
        return wrapped

    @classmethod
    def build_dataloader(cls, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        """Build a loader with a dataset that draws from the run's seed."""
        from mmlandmark.datasets import set_seed, with_loader_sizes, with_unlabelled, without_end

        try:
            config = with_loader_sizes(without_end(with_unlabelled(dataloader)))
            loader = Runner.build_dataloader(config, seed, diff_rank_seed)
        except TypeError as error:  # MMEngine builds the dataset by its own registry, which explains nothing
            explained = DATASETS.explained(dataloader.get("dataset"), error)
            if explained is error:
                raise
            raise explained from error
        set_seed(loader.dataset, seed or 0)
        leave_requests_to_parent(loader)
        return loader

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build schedules; one without an end spans the whole training, and rates are scaled if they are.

        Raises:
            ConfigError: See :func:`~mmlandmark.engine.schedules.spanning`.
        """
        by_iteration = isinstance(self.train_loop, IterBasedTrainLoop)
        per_pass = len(self.train_dataloader) if by_iteration else None

        def completed(part: Any) -> Any:
            if isinstance(part, list):
                return [completed(one) for one in part]
            if not isinstance(part, dict):
                return part
            if "type" not in part:  # the schedules of several optimisers, by name
                return {name: completed(one) for name, one in part.items()}
            config = spanning(part, self.max_epochs, self.max_iters, per_pass)
            return with_scaled_rates(config, self._rate_ratio)

        return super().build_param_scheduler(completed(scheduler))

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict | None = None) -> None:
        """Scale the learning rate with the batch of all processes, if ``auto_scale_lr.enable`` is set.

        Raises:
            ConfigError: See :func:`~mmlandmark.engine.data_parallel.complete_auto_scale`.
        """
        batch = self.train_dataloader.batch_size or 1
        complete = complete_auto_scale(auto_scale_lr, batch)
        if complete is not None:
            self._rate_ratio = self.world_size * batch / complete["base_batch_size"]
        super().scale_lr(optim_wrapper, complete)
        scale_base_rates(optim_wrapper, self._rate_ratio)

    @applied
    def train(self) -> nn.Module:
        """Check data against the model, then train.

        Raises:
            RunBusyError: Another run writes to the folder.
            ConfigError: The mixed precision needs a GPU; or there are several ``InvalidLossHook``.
            FloatingPointError: A loss, a gradient or weights to be saved are not finite.
            NoSpaceError: The disk is full.
            UnfinishedRun: A hook saved the run and stopped it because its time was up.
            StopRequested: The process was asked to stop, see :mod:`mmlandmark.utils.stop_requests`. What the
                run is resumed from is saved.
        """
        console.begin(self, "train")
        self._note_inputs()
        _check_precision(self.optim_wrapper)
        self._guard()
        for hook in (_Begin(), LeftOutReport()):
            self.register_hook(hook, priority="LOWEST")
        self.register_hook(HistoryBounds())
        if self.distributed:
            self.register_hook(SharedStatistics(), priority="VERY_HIGH")
        if stop_requests.taken():
            self.register_hook(StopHook(), priority="LOWEST")
        lock = RunLock(self.work_dir) if is_main_process() and not self.locked else nullcontext()
        with naming_full_disk(self.work_dir), lock:
            if is_main_process() and (removed := clean_temporaries(self.work_dir)):
                self.logger.info(f"removed what a kill left half-written: {', '.join(removed)}")
            try:
                model = super().train()
            except KeyboardInterrupt as stop:
                if isinstance(stop, StopRequested):
                    self.write_kept()
                    wait_for_all()
                stop.args = stop.args or (self._how_to_resume(),)
                raise
            finally:
                stop_requests.let_go()
        if self.unfinished:
            by_iteration = isinstance(self.train_loop, IterBasedTrainLoop)
            unit, done, length = (
                ("iteration", self.iter, self.max_iters)
                if by_iteration
                else ("epoch", self.epoch, self.max_epochs)
            )
            raise UnfinishedRun(
                f"no time is left for another {unit}: {self.work_dir} is saved after {unit} {done} of "
                f"{length}; run again{self._with_resume} to go on"
            )
        return model

    def _note_inputs(self) -> None:
        """Note for all checkpoints what the run is made of; a resumed run keeps what it began with."""
        if not self._resume:
            data = trained_on(self.train_dataloader.dataset)
            self.inputs = dict(inputs=inputs_of(self.cfg), trained_on=data)

    def _how_to_resume(self) -> str:
        latest = latest_checkpoint(self.work_dir)
        if latest is None:
            return f"stopped before the first checkpoint of {self.work_dir}: start again"
        return f"stopped: {self.work_dir} resumes from {latest.name}{self._with_resume}"

    @property
    def _with_resume(self) -> str:
        """What a command needs to resume the run; a plan resumes its runs by itself."""
        return "" if self.locked else " with --resume"

    @applied
    def test(self) -> dict:
        """Check data against the model, then test."""
        console.begin(self, "test")
        with naming_full_disk(self.work_dir):
            return super().test()

    @applied
    def val(self) -> dict:
        """Check data against the model, then validate."""
        console.begin(self, "val")
        return super().val()

    def _maybe_compile(self, target: str) -> None:
        """Compile the networks, whatever step MMEngine names."""
        compile_networks(self)


def _warn_of_idle(runner: Runner) -> None:
    """Warn of what looks at validations in a run that has none."""
    loop = runner.train_loop
    length = loop.max_iters if isinstance(loop, IterBasedTrainLoop) else loop.max_epochs
    if runner.val_loop is not None and loop.val_begin <= length:
        return
    schedules = runner.param_schedulers or []
    parts = schedules.values() if isinstance(schedules, dict) else [schedules]
    idle = [
        *(f"save_best={hook.save_best!r}" for hook in runner.hooks if getattr(hook, "save_best", None)),
        *(type(hook).__name__ for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)),
        *(type(one).__name__ for part in parts for one in part if getattr(one, "need_val_args", False)),
    ]
    if idle:
        why = (
            "has no val_dataloader" if runner.val_loop is None else f"ends before val_begin={loop.val_begin}"
        )
        runner.logger.warning(f"{', '.join(idle)}: without effect, since the run {why}")


def _check_precision(config: Any) -> None:
    """Raise ConfigError for float16 without a GPU, which MMEngine notices in the middle of a run."""
    kind = config.get("type") if isinstance(config, dict) else None
    if str(getattr(kind, "__name__", kind)).endswith("AmpOptimWrapper") and get_device() == "cpu":
        raise ConfigError(
            "optim_wrapper: AmpOptimWrapper trains in float16, which needs a GPU; on a CPU use "
            "AutocastOptimWrapper (bfloat16) or OptimWrapper (float32)"
        )
