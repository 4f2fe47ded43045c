"""Checkpoints of a run: the newest, and the best by its score."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine import hooks
from mmengine.dist import is_main_process
from mmengine.runner import IterBasedTrainLoop, Runner

from mmlandmark.engine.checkpoint_files import (
    BEST_NOTE,
    note_best,
    note_latest,
    note_resumed,
    remove_superseded,
)
from mmlandmark.engine.hooks.stateful_hook import StatefulHook
from mmlandmark.engine.training_state import Best, as_count, best_key, of_type, read_bests
from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(StatefulHook, hooks.CheckpointHook):
    """MMEngine's hook, made to survive a kill anywhere, and to touch nothing outside the run's folder.

    MMEngine removes checkpoints beyond ``max_keep_ckpts``, and the best one so far, before it writes the
    next one, and trusts the paths in a resumed checkpoint. Here the old file is removed last, and a
    checkpoint names files of its own folder only. ``best.json`` and every checkpoint hold the name and score
    of the best one; a resumed run goes by its checkpoint.

    Args:
        kwargs: See :class:`mmengine.hooks.CheckpointHook`; ``out_dir`` is the run's folder.

    Raises:
        ValueError: ``out_dir`` is given, ``save_best`` is ``auto``, or ``filename_tmpl`` is no name of a
            ``.pth`` file; when training begins: ``by_epoch`` is not as in ``train_cfg``.
    """

    max_keep_ckpts: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.out_dir is not None:
            raise ValueError(
                "CheckpointHook: checkpoints lie in the run's folder; use --work-dir, not out_dir"
            )
        if "auto" in getattr(self, "key_indicators", ()):
            # MMEngine takes what the first validation happens to report first, and may know no rule for it.
            raise ValueError(
                "CheckpointHook: save_best='auto' names no metric; name one and whether it falls or rises: "
                "save_best='mre', rule='less'"
            )
        name = self.filename_tmpl
        if Path(name).name != name or "\\" in name or not name.endswith(".pth"):
            raise ValueError(
                f"CheckpointHook: filename_tmpl must be a name like 'epoch_{{}}.pth', got {name!r}"
            )
        self.best: dict[str, Best] = {}
        self._kept: list[int] = []  # numbers of the checkpoints that max_keep_ckpts counts
        self._behind_validation = False

    @staticmethod
    def watched_metrics(config: Mapping[str, Any]) -> list[str]:
        """Return the metrics of a hook's config, see :mod:`mmlandmark.engine.run_checks`."""
        given = config.get("save_best")
        names = given if isinstance(given, list) else [given]
        return [name for name in names if isinstance(name, str) and name != "auto"]  # which is refused itself

    def state_dict(self) -> dict[str, Any]:
        """Return the best checkpoints and the numbers of those that are kept."""
        return dict(best={metric: asdict(best) for metric, best in self.best.items()}, kept=list(self._kept))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what a checkpoint says about its run's checkpoints; files are checked later."""
        kept = [as_count(number, "kept") for number in of_type(state.get("kept", []), list | tuple, "kept")]
        self.best, self._kept = read_bests(state.get("best", {})), kept

    def before_train(self, runner: Runner) -> None:
        """Keep what a resumed run knows about its checkpoints, as far as they are in its folder."""
        self._check_unit(runner)
        super().before_train(runner)
        folder, state = Path(self.out_dir), getattr(runner, "resumed", None)
        for metric, best in list(self.best.items()):
            if not (folder / best.file).is_file():
                del self.best[metric]
                runner.logger.warning(f"the best checkpoint so far, {best.file}, is not in {folder}")
        self._kept = [n for n in self._kept if (folder / self.filename_tmpl.format(n)).is_file()]
        source = Path("" if state is None else state.source)
        if (
            state is not None
            and source.parent.resolve() == folder.resolve()
            and source.name == self._name(runner)
        ):
            self.last_ckpt = str(source)
            if is_main_process():
                note_resumed(folder / source.name)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self._kept)
        self._publish_best()
        # A run that starts from the beginning has no best yet, whatever another left here.
        if is_main_process() and (self.save_best is not None or (folder / BEST_NOTE).is_file()):
            remove_superseded(folder, self.best)
            note_best(folder, self.best)

    def _check_unit(self, runner: Runner) -> None:
        by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
        if self.by_epoch != by_epoch:
            why = "is resumed from whole epochs only" if by_epoch else "would save nothing before its end"
            raise ValueError(
                f"{type(self).__name__} has by_epoch={self.by_epoch}, and train_cfg counts "
                f"{'epochs' if by_epoch else 'iterations'}, so the run {why}: set by_epoch={by_epoch}"
            )

    def after_train(self, runner: Runner) -> None:
        """Save a run that was stopped early between two checkpoints, then publish."""
        stopped = getattr(runner.train_loop, "stop_training", False)
        if self.save_last and stopped and Path(self.last_ckpt or "").name != self._name(runner):
            self._save_behind_validation(runner)
        super().after_train(runner)

    def keep(self, runner: Runner, step: int) -> None:
        """Keep where the run is in memory, unless it is saved: what it is resumed from if it stops now.

        Args:
            runner: Of the run.
            step: Epochs or iterations that are done.
        """
        name = self.filename_tmpl.format(step)
        if Path(self.last_ckpt or "").name == name:
            return
        before = self._kept
        if self.max_keep_ckpts > 0:  # it counts as soon as it is written
            self._kept = [*before, step]
        try:
            runner.keep_checkpoint(
                self.out_dir,
                name,
                meta=dict(epoch=step, iter=runner.iter)
                if self.by_epoch
                else dict(epoch=runner.epoch, iter=step),
                **self._what_to_save(),
            )
        finally:
            self._kept = before

    def save_step(self, runner: Runner) -> None:
        """Save the step that has just been done, unless it is saved."""
        if Path(self.last_ckpt or "").name != self.filename_tmpl.format(runner.iter + 1):
            self._save_checkpoint(runner)

    def _name(self, runner: Runner) -> str:
        """Return the name of the checkpoint of where the run is."""
        return self.filename_tmpl.format(runner.epoch if self.by_epoch else runner.iter)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, note what is the newest, then remove what is too old."""
        old: list[int] = []
        limit = self.max_keep_ckpts
        if limit > 0 and step not in self.keep_ckpt_ids:
            kept = [*self.keep_ckpt_ids, step]
            old, kept = kept[:-limit], kept[-limit:]
            self.keep_ckpt_ids, self._kept = deque(kept), kept
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir, name))
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        meta = dict(meta, validated=self._behind_validation)
        runner.save_checkpoint(self.out_dir, name, meta=meta, **self._what_to_save())
        runner.forget_kept()
        if is_main_process():
            note_latest(Path(self.last_ckpt))
            for number in old:
                Path(self.out_dir, self.filename_tmpl.format(number)).unlink(missing_ok=True)

    def _what_to_save(self) -> dict[str, Any]:
        return dict(
            self.args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            by_epoch=self.by_epoch,
        )

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save the best by each metric, then note it, then the run's newest, then remove the one before."""
        if not self.save_best:
            return
        step = runner.epoch if self.by_epoch else runner.iter
        for metric in self.key_indicators:
            if metric not in metrics:
                raise ValueError(
                    f"save_best is {metric!r}, which no metric reports; there are "
                    f"{', '.join(sorted(metrics))}"
                )
            score, before = metrics[metric], self.best.get(best_key(metric))
            if score is None or not math.isfinite(score):
                continue
            if before is None or self.is_better_than[metric](score, before.score):
                name = f"best_{best_key(metric)}_{self._name(runner)}"
                self.best[best_key(metric)] = Best(float(score), step, name)
                self._replace_best(runner, before, name)
                runner.logger.info(f"best checkpoint: {name}, {metric} {score:0.4f}")

    def _replace_best(self, runner: Runner, before: Best | None, name: str) -> None:
        self._publish_best()
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=False,
            save_param_scheduler=False,
            meta=dict(meta, validated=True),
            by_epoch=False,
        )
        if is_main_process():
            note_best(self.out_dir, self.best, before.file if before and before.file != name else None)
        if self.last_ckpt is not None:
            self._save_behind_validation(runner)
        if is_main_process():
            remove_superseded(self.out_dir, self.best)

    def _save_behind_validation(self, runner: Runner) -> None:
        """Save where the run is, with the note that a validation that was due there is done."""
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        self._behind_validation = True
        try:
            self._save_checkpoint_with_step(runner, runner.epoch if self.by_epoch else runner.iter, meta)
        finally:
            self._behind_validation = False

    def _publish_best(self) -> None:
        """Set what MMEngine's ``published_keys`` look for."""
        if self.save_best is None:
            return
        paths = {m: str(Path(self.out_dir, self.best[k].file)) for m in self.key_indicators
                 if (k := best_key(m)) in self.best}  # fmt: skip
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = next(iter(paths.values()), None)
        else:
            self.best_ckpt_path_dict = paths
