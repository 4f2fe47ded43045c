"""The runner: MMEngine's, with checks that speak up before training starts."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner import runner as _mmengine_runner
from torch import nn

from mmlandmark.engine import console
from mmlandmark.engine.compilation import compile_networks
from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.config_data import config_to_data
from mmlandmark.engine.data_checks import check_checkpoint
from mmlandmark.engine.inputs import inputs_of, trained_on
from mmlandmark.engine.mmengine_cures import applied
from mmlandmark.engine.optim_wrapper import precision_of
from mmlandmark.engine.resuming import changes_since, check_resumable, restore_optimizer, restore_schedules
from mmlandmark.engine.run_folder import (
    RunLock,
    clean_temporaries,
    latest_checkpoint,
    numbered_checkpoints,
    write_config,
)
from mmlandmark.engine.training_state import TrainingState, read_training_state
from mmlandmark.registry import DATASETS
from mmlandmark.utils.checkpoint import (
    check_state_dict,
    is_whole,
    put_training_apart,
    put_training_back,
    save_checkpoint,
)
from mmlandmark.utils.host_memory import keep_freed_memory


class UnfinishedRun(RuntimeError):
    """A run was saved and ended before its end, to be gone on with."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command again goes on


_begun: Counter[str] = Counter()  # runs of this process, by the second they began in


class _Begin(Hook):
    """Leaves the config of a run that begins, and validates if it was killed before it could.

    What follows a validation, the best checkpoint and schedules that follow a metric, then is as it would be
    without the kill.
    """

    def before_train(self, runner: LandmarkRunner) -> None:
        if is_main_process():
            runner._write_config()
        loop, state = runner.train_loop, runner.resumed
        if state is None or state.validated or runner.val_loop is None:
            return
        by_iteration = isinstance(loop, IterBasedTrainLoop)
        step, length = (loop.iter, loop.max_iters) if by_iteration else (loop.epoch, loop.max_epochs)
        loop._decide_current_val_interval()
        if step >= max(loop.val_begin, 1) and (step % loop.val_interval == 0 or step == length):
            runner.val_loop.run()


class LandmarkRunner(Runner):
    """Train, validate and test a configured detector.

    Differences to :class:`mmengine.runner.Runner`: checkpoints are written atomically and must fit the
    model they are loaded into (``load_strict=False`` in the config allows a partial start for
    fine-tuning); model and data must agree on the number of landmarks before the first batch; several
    processes work without a GPU. What it changes in MMEngine, see :mod:`mmlandmark.engine.mmengine_cures`, it
    changes while it is built and while it runs.
    """

    unfinished = False  # set by what ends a run before its end
    inputs: dict[str, Any] = {}  # what it is made of beside its config, for the checkpoint's meta
    resumed: TrainingState | None = None  # what the checkpoint said that this run goes on from

    @applied
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def setup_env(self, env_cfg: dict) -> None:
        """Start gloo where MMEngine would ask for CUDA, then do as MMEngine does.

        Without a GPU ``env_cfg.keep_freed_memory`` (default True) speeds up training, see
        :func:`~mmlandmark.utils.host_memory.keep_freed_memory`.
        """
        if env_cfg.get("keep_freed_memory", True) and not torch.cuda.is_available():
            keep_freed_memory()
        started = torch.distributed.is_available() and torch.distributed.is_initialized()
        if self.distributed and not started and not torch.cuda.is_available():
            if self._launcher != "pytorch":
                raise ValueError(
                    f"launcher {self._launcher!r} needs GPUs; without them use torchrun, --launcher pytorch"
                )
            torch.distributed.init_process_group(backend="gloo")
        super().setup_env(env_cfg)
        # MMEngine names logs by the second a run begins in; a second run within it would join the first's.
        _begun[self._timestamp] += 1
        if _begun[self._timestamp] > 1:
            self._timestamp += f"_{_begun[self._timestamp]}"

    def build_logger(self, *args: Any, **kwargs: Any) -> Any:
        """Build the log, of which the terminal shows a few lines unless ``env_cfg.verbose`` is set."""
        logger = super().build_logger(*args, **kwargs)
        if not (self.cfg.get("env_cfg") or {}).get("verbose", False):
            console.quieten(logger)
        return logger

    def dump_config(self) -> None:
        """Leave a test's config in its folder; a training leaves its own once it is clear that it begins."""
        self._resolved = config_to_data(self.cfg)
        if self._train_loop is None:
            self._write_config()

    def _write_config(self) -> None:
        """Write the config, under one name however often the run is started."""
        name = os.path.basename(self.cfg.filename) if self.cfg.filename else "config.py"
        self.cfg.dump(os.path.join(self.work_dir, name))

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap for several processes; without a GPU there are no device ids."""
        if self.distributed and not torch.cuda.is_available() and not is_model_wrapper(model):
            model_wrapper_cfg = dict(model_wrapper_cfg or {}, device_ids=None)
            model_wrapper_cfg.setdefault("broadcast_buffers", False)
            # MMEngine reads this key only where it is given no wrapper's config.
            unused = self.cfg.get("find_unused_parameters", False)
            model_wrapper_cfg.setdefault("find_unused_parameters", unused)
        return super().wrap_model(model_wrapper_cfg, model)

    @classmethod
    def build_dataloader(cls, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        """Build a loader whose dataset draws from the run's seed."""
        from mmlandmark.datasets import set_seed, without_end

        try:
            loader = Runner.build_dataloader(without_end(dataloader), seed, diff_rank_seed)
        except TypeError as error:  # MMEngine builds the dataset by its own registry, which explains nothing
            told = DATASETS.explained(dataloader.get("dataset"), error)
            if told is error:
                raise
            raise told from error
        set_seed(loader.dataset, seed or 0)
        return loader

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build schedules; one that does not say where it ends spans the whole training."""
        configs = scheduler if isinstance(scheduler, list) else [scheduler]
        if all(isinstance(config, dict) and "type" in config for config in configs):
            scheduler = [_spanning(config, self.max_epochs, self.max_iters) for config in configs]
        return super().build_param_scheduler(scheduler)

    @applied
    def train(self) -> nn.Module:
        """Check data against the model, then train.

        Raises:
            ConfigError: Another run writes to the folder, or the mixed precision needs a GPU.
            UnfinishedRun: A hook saved the run and ended it, as its time was over.
        """
        console.begin(self, "train")
        self._note_inputs()
        _check_precision(self.optim_wrapper)
        self.register_hook(_Begin(), priority="LOWEST")
        with RunLock(self.work_dir) if is_main_process() else nullcontext():
            if is_main_process() and (removed := clean_temporaries(self.work_dir)):
                self.logger.info(f"removed what a kill left half-written: {', '.join(removed)}")
            try:
                model = super().train()
            except KeyboardInterrupt as stop:
                stop.args = stop.args or (self._how_to_go_on(),)
                raise
        if self.unfinished:
            raise UnfinishedRun(
                f"no time is left for another epoch: {self.work_dir} is saved after epoch {self.epoch} of "
                f"{self.max_epochs}; run again with --resume to go on"
            )
        return model

    def _note_inputs(self) -> None:
        """Keep in every checkpoint what the run is made of; one that is resumed brings what it began with."""
        if not self._resume:
            data = trained_on(self.train_dataloader.dataset)
            self.inputs = dict(inputs=inputs_of(self.cfg), trained_on=data)

    def _how_to_go_on(self) -> str:
        latest = latest_checkpoint(self.work_dir)
        if latest is None:
            return f"stopped before the first checkpoint of {self.work_dir}: start again"
        return f"stopped: {self.work_dir} goes on from {latest.name} with --resume"

    @applied
    def test(self) -> dict:
        """Check data against the model, then test."""
        console.begin(self, "test")
        return super().test()

    @applied
    def val(self) -> dict:
        """Check data against the model, then validate."""
        console.begin(self, "val")
        return super().val()

    def _maybe_compile(self, target: str) -> None:
        """Compile the networks, whichever step MMEngine means."""
        compile_networks(self)

    @applied
    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool | None = None,
        revise_keys: list | None = None,
    ) -> dict:
        """Load weights and refuse those of another model, unless the config says ``load_strict=False``."""
        strict = self.cfg.get("load_strict", True) if strict is None else strict
        revise_keys = [("(?!)", "")] if revise_keys is None else revise_keys  # loading puts names right
        model = self.model.module if is_model_wrapper(self.model) else self.model
        loaded = _mmengine_runner._load_checkpoint(filename, map_location=map_location, logger="current")
        put_training_back(loaded, model)
        if strict:
            check_state_dict(model, loaded.get("state_dict", loaded), f"checkpoint {filename}")
        try:
            check_checkpoint(self, loaded, filename)
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"checkpoint {filename} is broken: its landmarks cannot be read: {error}"
            ) from error
        with _replaced("_load_checkpoint", lambda *_, **__: loaded):
            return super().load_checkpoint(filename, map_location, False, revise_keys)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; one that cannot read what a checkpoint says ends in one sentence."""
        if fn_name != "after_load_checkpoint":
            super().call_hook(fn_name, **kwargs)
            return
        try:
            super().call_hook(fn_name, **kwargs)
        except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"checkpoint {self._load_from}: a hook cannot read its state in it: {error}"
            ) from error

    def _init_model_weights(self) -> None:
        """Start the weights, unless a checkpoint of this run has them: ``init_cfg`` is not asked then."""
        if not (self._resume and (self._load_from or latest_checkpoint(self.work_dir))):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Resume from the newest checkpoint, or load the starting weights.

        Raises:
            ValueError: The newest checkpoint is broken; a whole one beside it is named.
        """
        newest = None
        if self._resume and self._load_from is None:
            newest = latest_checkpoint(self.work_dir)
            if newest is None:
                self._resume = False
                self.logger.info(f"nothing to resume in {self.work_dir}: starting anew")
            else:
                self._load_from = str(newest)
        try:
            super().load_or_resume()
        except ValueError as error:
            if newest is None or is_whole(newest):
                raise
            others = sorted(numbered_checkpoints(self.work_dir).items(), reverse=True)
            whole = next((path.name for _, path in others if path != newest and is_whole(path)), None)
            way = (
                f"{whole} beside it is whole: remove {newest.name}, and --resume goes on from {whole}"
                if whole
                else "there is no other in the folder: start again without --resume"
            )
            raise ValueError(f"{error}; {way}") from error

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = "default",
    ) -> None:
        """Go on from a checkpoint, by the rule of :mod:`mmlandmark.engine.resuming`.

        A checkpoint is data: MMEngine executes the config in it, and believes the paths. What the config
        says otherwise now is logged.

        Raises:
            ValueError: See :func:`~mmlandmark.engine.training_state.read_training_state` and the functions of
                :mod:`mmlandmark.engine.resuming`.
        """
        checkpoint = self.load_checkpoint(
            filename, get_device() if map_location == "default" else map_location
        )
        state = read_training_state(checkpoint, str(filename))
        check_resumable(self, state)
        loop = self.train_loop
        loop._epoch, loop._iter = state.epoch, state.iter
        if not isinstance(loop, IterBasedTrainLoop):  # an epoch begins anew, whatever its length is now
            loop._iter = state.epoch * len(self.train_dataloader)
        for name, history in state.scalars.items():
            self.message_hub.log_scalars[name] = history
            self.message_hub._resumed_keys[name] = True
        self.message_hub.update_info_dict(state.info)
        if resume_optimizer:
            restore_optimizer(self, state)
        if resume_param_scheduler:
            restore_schedules(self, state)
        self.inputs = {
            key: checkpoint["meta"][key] for key in ("inputs", "trained_on") if key in checkpoint["meta"]
        }
        self.resumed, self._has_loaded = state, True
        self.logger.info(f"resumed epoch: {self.epoch}, iter: {self.iter}")
        changed = changes_since(self, state)
        if changed:
            more = f"; and {len(changed) - 12} more" if len(changed) > 12 else ""
            self.logger.warning(f"resumed with another config: {'; '.join(changed[:12])}{more}")

    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, meta: dict | None = None, **kwargs: Any
    ) -> None:
        """Save as MMEngine does, but so that a crash never leaves half a file.

        What only training uses stands apart in ``training_state_dict``: ``state_dict`` is the model as it is
        used, and fits a config without those parts. The resolved config is kept as data.
        """

        def atomically(checkpoint: dict, path: str, **_: Any) -> None:
            model = self.model.module if is_model_wrapper(self.model) else self.model
            put_training_apart(checkpoint, model)
            write_config(self.work_dir, self._resolved)  # the checkpoints here are of this config from now on
            checkpoint["meta"].update(self.inputs, precision=precision_of(self.optim_wrapper))
            save_checkpoint(checkpoint, path)

        meta = dict(
            meta or {},
            resolved_config=json.dumps(self._resolved),
            iterations_per_epoch=len(self.train_dataloader),
        )
        with _replaced("save_checkpoint", atomically):
            super().save_checkpoint(out_dir, filename, *args, meta=meta, **kwargs)


def _check_precision(config: Any) -> None:
    """Refuse float16 with scaled losses where there is no GPU, which MMEngine finds out in the middle."""
    kind = config.get("type") if isinstance(config, dict) else None
    if str(getattr(kind, "__name__", kind)).endswith("AmpOptimWrapper") and get_device() == "cpu":
        raise ConfigError(
            "optim_wrapper: AmpOptimWrapper trains in float16, which needs a GPU; on a CPU use "
            "AutocastOptimWrapper (bfloat16) or OptimWrapper (float32)"
        )


@contextmanager
def _replaced(name: str, function: Callable) -> Iterator[None]:
    """Let MMEngine's runner use ``function`` under a name that it imports."""
    original = getattr(_mmengine_runner, name)
    setattr(_mmengine_runner, name, function)
    try:
        yield
    finally:
        setattr(_mmengine_runner, name, original)


def _spanning(config: dict, max_epochs: int, max_iters: int) -> dict:
    """Return a schedule's config with its end filled in."""
    config = dict(config)
    length = max_epochs if config.get("by_epoch", True) else max_iters
    kind = getattr(config["type"], "__name__", config["type"])  # a config may hold the class itself
    if kind in ("OneCycleLR", "OneCycleParamScheduler"):
        config.setdefault("total_steps", length)
    elif kind.startswith(("CosineAnnealing", "Poly", "CosineRestart")):
        config.setdefault("end", length)
    return config


def default_launcher() -> str:
    """Return ``pytorch`` under torchrun, else ``none``."""
    return "pytorch" if "LOCAL_RANK" in os.environ and "MASTER_ADDR" in os.environ else "none"
