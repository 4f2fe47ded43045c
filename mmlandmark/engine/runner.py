"""The runner: MMEngine's, with checks that speak up before training starts."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner import runner as _mmengine_runner
from torch import nn

from mmlandmark.engine import console, mmengine_cures
from mmlandmark.engine.compilation import compile_networks
from mmlandmark.engine.data_checks import check_checkpoint
from mmlandmark.engine.inputs import inputs_of, trained_on
from mmlandmark.engine.optim_wrapper import precision_of
from mmlandmark.utils.checkpoint import (
    check_state_dict,
    put_training_apart,
    put_training_back,
    save_checkpoint,
)
from mmlandmark.utils.host_memory import keep_freed_memory

mmengine_cures.install()


class UnfinishedRun(RuntimeError):
    """A run was saved and ended before its end, to be gone on with."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command again goes on


_begun: Counter[str] = Counter()  # runs of this process, by the second they began in


class _LastValidation(Hook):
    """Validates a run that is resumed at its end: it may have been killed before that was done."""

    def before_train(self, runner: Runner) -> None:
        self._at_end = runner.iter >= runner.max_iters

    def after_train(self, runner: Runner) -> None:
        step = runner.iter if isinstance(runner.train_loop, IterBasedTrainLoop) else runner.epoch
        if self._at_end and runner.val_loop is not None and step >= runner.val_begin:
            runner.val_loop.run()


class LandmarkRunner(Runner):
    """Train, validate and test a configured detector.

    Differences to :class:`mmengine.runner.Runner`: checkpoints are written atomically and must fit the
    model they are loaded into (``load_strict=False`` in the config allows a partial start for
    fine-tuning); model and data must agree on the number of landmarks before the first batch; several
    processes work without a GPU.
    """

    unfinished = False  # set by what ends a run before its end
    inputs: dict[str, Any] = {}  # what it is made of beside its config, for the checkpoint's meta

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
        """Leave the config in the work folder, under one name however often the run is started."""
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

        loader = Runner.build_dataloader(without_end(dataloader), seed, diff_rank_seed)
        set_seed(loader.dataset, seed or 0)
        return loader

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build schedules; one that does not say where it ends spans the whole training."""
        configs = scheduler if isinstance(scheduler, list) else [scheduler]
        if all(isinstance(config, dict) and "type" in config for config in configs):
            scheduler = [_spanning(config, self.max_epochs, self.max_iters) for config in configs]
        return super().build_param_scheduler(scheduler)

    def train(self) -> nn.Module:
        """Check data against the model, then train.

        Raises:
            UnfinishedRun: A hook saved the run and ended it, as its time was over.
        """
        console.begin(self, "train")
        self._note_inputs()
        self.register_hook(_LastValidation(), priority="VERY_HIGH")
        model = super().train()
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

    def test(self) -> dict:
        """Check data against the model, then test."""
        console.begin(self, "test")
        return super().test()

    def val(self) -> dict:
        """Check data against the model, then validate."""
        console.begin(self, "val")
        return super().val()

    def _maybe_compile(self, target: str) -> None:
        """Compile the networks, whichever step MMEngine means."""
        compile_networks(self)

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool | None = None,
        revise_keys: list | None = None,
    ) -> dict:
        """Load weights and refuse those of another model, unless the config says ``load_strict=False``."""
        strict = self.cfg.get("load_strict", True) if strict is None else strict
        revise_keys = [(r"^module\.", "")] if revise_keys is None else revise_keys
        model = self.model.module if is_model_wrapper(self.model) else self.model
        loaded = _mmengine_runner._load_checkpoint(filename, map_location=map_location, logger="current")
        put_training_back(loaded, model)
        if self._resume:
            meta = loaded.get("meta") or {}
            self.inputs = {key: meta[key] for key in ("inputs", "trained_on") if key in meta}
        if strict:
            weights = loaded.get("state_dict", loaded)
            check_state_dict(
                model, {k.removeprefix("module."): v for k, v in weights.items()}, f"checkpoint {filename}"
            )
        check_checkpoint(self, loaded, filename)
        with _replaced("_load_checkpoint", lambda *_, **__: loaded):
            return super().load_checkpoint(filename, map_location, False, revise_keys)

    def _init_model_weights(self) -> None:
        """Start the weights, unless a checkpoint of this run has them: ``init_cfg`` is not asked then."""
        if not (self._resume and (self._load_from or latest_checkpoint(self.work_dir))):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Resume from the newest whole checkpoint, or load the starting weights."""
        if self._resume and self._load_from is None:
            latest = latest_checkpoint(self.work_dir)
            if latest is None:
                self._resume = False
                self.logger.info(f"nothing to resume in {self.work_dir}: starting anew")
            else:
                self._load_from = str(latest)
        super().load_or_resume()

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Save as MMEngine does, but so that a crash never leaves half a file.

        What only training uses stands apart in ``training_state_dict``: ``state_dict`` is the model as it is
        used, and fits a config without those parts.
        """

        def atomically(checkpoint: dict, path: str, **_: Any) -> None:
            model = self.model.module if is_model_wrapper(self.model) else self.model
            put_training_apart(checkpoint, model)
            checkpoint["meta"].update(self.inputs, precision=precision_of(self.optim_wrapper))
            save_checkpoint(checkpoint, path)

        with _replaced("save_checkpoint", atomically):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)


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


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the newest whole checkpoint of a run, or None.

    The note ``last_checkpoint`` names it; of a run killed between checkpoint and note it is a file that is
    younger than the note. Without a note it is the highest number.
    """
    folder = Path(work_dir)
    note = folder / "last_checkpoint"
    name = Path(note.read_text(encoding="utf-8").strip()).name if note.is_file() else ""
    numbered = {
        int(m[1]): p
        for p in folder.glob("*.pth")
        if (m := re.fullmatch(r"(?:epoch|iter)_(\d+)\.pth", p.name))
    }
    noted = folder / name if name and (folder / name).is_file() else None
    if noted is not None:
        written = note.stat().st_mtime_ns
        numbered = {number: p for number, p in numbered.items() if p.stat().st_mtime_ns > written}
    return numbered[max(numbered)] if numbered else noted


def best_checkpoint(work_dir: str | Path) -> Path | None:
    """Return what ``CheckpointHook(save_best=...)`` kept in a run's folder, or None."""
    return max(Path(work_dir).glob("best_*.pth"), key=lambda path: path.stat().st_mtime, default=None)


def default_launcher() -> str:
    """Return ``pytorch`` under torchrun, else ``none``."""
    return "pytorch" if "LOCAL_RANK" in os.environ and "MASTER_ADDR" in os.environ else "none"
