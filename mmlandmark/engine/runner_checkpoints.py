"""The part of the runner that reads and writes checkpoints."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.device import get_device
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner import runner as _mmengine_runner

from mmlandmark.engine.checkpoint_files import (
    latest_checkpoint,
    newest_whole,
    note_latest,
    numbered_checkpoints,
    put_aside,
)
from mmlandmark.engine.data_checks import check_checkpoint
from mmlandmark.engine.data_position import skip_done_batches
from mmlandmark.engine.hooks.invalid_loss_hook import CURE
from mmlandmark.engine.hooks.safe_checkpoint_hook import to_plain
from mmlandmark.engine.hooks.stateful_hook import hook_states, restore_hooks
from mmlandmark.engine.mmengine_cures import applied
from mmlandmark.engine.optim_wrapper import precision_of
from mmlandmark.engine.pending_gradients import KEY, pending_gradients, restore_gradients
from mmlandmark.engine.processes import bare, main_process_decides
from mmlandmark.engine.resuming import changes_since, check_resumable, restore_optimizer, restore_schedules
from mmlandmark.engine.run_folder import write_config
from mmlandmark.engine.shared_statistics import networks_of
from mmlandmark.engine.training_state import TrainingState, read_training_state
from mmlandmark.utils.checkpoint import (
    check_state_dict,
    complete_state,
    names_not_finite,
    put_training_apart,
    put_training_back,
    save_checkpoint,
)


class CheckpointedRunner(Runner):
    """MMEngine's runner with checkpoints that are written whole, loaded safely and resumed exactly.

    Attributes:
        locked: Whether the caller already holds the lock of the work folder, as a plan does.
        inputs: What decides the run besides its config, for the checkpoint's meta.
        resumed: The state in the checkpoint that this run was resumed from, None if it was not.
    """

    locked = False
    inputs: Mapping[str, Any] = {}
    resumed: TrainingState | None = None
    _kept: tuple[Path, dict[str, Any]] | None = None
    _keeping = False
    _resolved: dict[str, Any]
    _resume: bool
    _load_from: str | None

    @applied
    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool | None = None,
        revise_keys: list | None = None,
    ) -> dict:
        """Load weights and refuse those of another model, unless the config has ``load_strict=False``."""
        strict = self.cfg.get("load_strict", True) if strict is None else strict
        revise_keys = [("(?!)", "")] if revise_keys is None else revise_keys  # loading puts names right
        model = bare(self)
        loaded = _mmengine_runner._load_checkpoint(filename, map_location=map_location, logger="current")
        put_training_back(loaded, model)
        _leave_out_remade(loaded, model)
        for part in complete_state(loaded, model):
            self.logger.info(f"{filename} has no weights of all that {part} consists of: the rest is new")
        if strict:
            self._check_weights(model, loaded.get("state_dict", loaded), filename)
        try:
            check_checkpoint(self, loaded, filename)
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"checkpoint {filename} is broken: its landmarks cannot be read: {error}"
            ) from error
        with _replaced("_load_checkpoint", lambda *_, **__: loaded):
            return super().load_checkpoint(filename, map_location, False, revise_keys)

    def _check_weights(self, model: Any, state: dict, filename: str) -> None:
        try:
            check_state_dict(model, state, f"checkpoint {filename}")
        except ValueError as error:
            if self._train_loop is None or self._resume:
                raise
            raise ValueError(f"{error}; to start from those that fit, set load_strict=False") from error

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; if one cannot read its part of a checkpoint, raise one sentence that says so."""
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
        """Initialise the weights, unless a checkpoint of this run is about to be loaded."""
        if not (self._resume and (self._load_from or latest_checkpoint(self.work_dir))):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Resume from the newest checkpoint that is whole, or load the starting weights.

        Raises:
            ValueError: No checkpoint in the folder is whole.
        """
        if self._resume and self._load_from is None:
            newest = main_process_decides(self._newest)
            if newest is None:
                self._resume = False
                self.logger.info(f"nothing to resume in {self.work_dir}: starting from the beginning")
            else:
                self._load_from = str(newest)
        super().load_or_resume()

    def _newest(self) -> Path | None:
        """Return the newest whole checkpoint, and put newer ones aside that the run is going to write."""
        newest, damaged = newest_whole(self.work_dir)
        if not damaged:
            return newest
        if newest is None:
            again = f"remove {self.work_dir} and" if self.locked else "start"
            again += " train it again" if self.locked else " again without --resume"
            raise ValueError(f"{next(iter(damaged.values()))}; no other in the folder is whole: {again}")
        loop = self.train_loop
        length = loop.max_iters if isinstance(loop, IterBasedTrainLoop) else loop.max_epochs
        beyond = {path for n, path in numbered_checkpoints(self.work_dir).items() if n > length}
        for path, reason in damaged.items():
            kept = "" if path in beyond else f"; it is kept as {put_aside(path).name}"
            self.logger.warning(f"{reason}{kept}: the run is resumed from {newest.name}")
        note_latest(newest)
        return newest

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = "default",
    ) -> None:
        """Resume from a checkpoint, by the rule of :mod:`mmlandmark.engine.resuming`.

        MMEngine executes the config in a checkpoint and trusts its paths; here a checkpoint is data. What has
        changed in the config is logged.

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
        if isinstance(loop, IterBasedTrainLoop):
            skip_done_batches(loop)
        else:  # an epoch starts from its beginning, whatever its length is now
            loop._iter = state.epoch * len(self.train_dataloader)
        for name, history in state.scalars.items():
            self.message_hub.log_scalars[name] = history
            self.message_hub._resumed_keys[name] = True
        self.message_hub.update_info_dict(state.info)
        if resume_optimizer:
            restore_optimizer(self, state)
            restore_gradients(self, state.gradients, state.source)
        if resume_param_scheduler:
            restore_schedules(self, state)
        missing = restore_hooks(self.hooks, state.hooks, str(filename))
        if missing:
            self.logger.warning(
                f"the checkpoint holds no state of {', '.join(missing)}: they start from the beginning"
            )
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

        Parts that only training uses are kept in ``training_state_dict``: ``state_dict`` is the model as it
        is used, and fits a config without those parts. The resolved config is kept as data.

        Raises:
            FloatingPointError: Weights are not finite; earlier checkpoints stay as they are.
        """
        self._check_finite(filename)
        # All processes come here, and only the first one to where it is written.
        gradients = pending_gradients(self.optim_wrapper) if kwargs.get("save_optimizer", True) else {}

        def atomically(checkpoint: dict, path: str, **_: Any) -> None:
            model = bare(self)
            put_training_apart(checkpoint, model)
            if gradients:
                checkpoint[KEY] = gradients
            checkpoint["hook_states"] = to_plain(hook_states(self.hooks), "hook_states")
            checkpoint["meta"].update(self.inputs, precision=precision_of(self.optim_wrapper))
            if self._keeping:
                self._kept = (Path(path), copy.deepcopy(checkpoint))
            else:
                self._write(checkpoint, path)

        meta = dict(
            meta or {},
            resolved_config=json.dumps(self._resolved),
            iterations_per_epoch=len(self.train_dataloader),
        )
        with _replaced("save_checkpoint", atomically):
            super().save_checkpoint(out_dir, filename, *args, meta=meta, **kwargs)

    def _check_finite(self, filename: str) -> None:
        """Refuse weights that could not be loaded again, in all processes: all have the same."""
        bad = [name for network in networks_of(self) for name in names_not_finite(network.state_dict())]
        if bad:
            raise FloatingPointError(
                f"{filename} is not saved: {len(bad)} weights are NaN or infinite, {', '.join(bad[:3])}; "
                f"the training has diverged, earlier checkpoints in {self.work_dir} are kept. {CURE}"
            )

    def _write(self, checkpoint: dict, path: str | Path) -> None:
        write_config(self.work_dir, self._resolved)  # the checkpoints here are of this config from now on
        save_checkpoint(checkpoint, path)

    def keep_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Keep a checkpoint in memory that :meth:`save_checkpoint` would write with these arguments."""
        self._kept, self._keeping = None, True
        try:
            self.save_checkpoint(*args, **kwargs)
        finally:
            self._keeping = False

    def write_kept(self) -> None:
        """Write what :meth:`keep_checkpoint` has kept, if anything, as the newest checkpoint of the run."""
        if self._kept is not None:
            path, checkpoint = self._kept
            self._write(checkpoint, path)
            note_latest(path)
            self.forget_kept()

    def forget_kept(self) -> None:
        """Forget what :meth:`keep_checkpoint` has kept: a newer one is written."""
        self._kept = None


def _leave_out_remade(checkpoint: dict, model: Any) -> None:
    """Leave buffers as they are that a hook makes anew before use, if they are missing or differ in shape.

    So a detector may be tested with more annotated images than it was trained with, and start from published
    weights, which know no image.
    """
    state, own = checkpoint.get("state_dict", checkpoint), model.state_dict()
    for name in getattr(model, "remade_buffers", ()):
        if name not in state or state[name].shape != own[name].shape:
            state[name] = own[name].clone()


@contextmanager
def _replaced(name: str, function: Callable) -> Iterator[None]:
    """Let MMEngine's runner use ``function`` under a name that it imports."""
    original = getattr(_mmengine_runner, name)
    setattr(_mmengine_runner, name, function)
    try:
        yield
    finally:
        setattr(_mmengine_runner, name, original)
