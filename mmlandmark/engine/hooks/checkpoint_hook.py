"""The old checkpoint goes when the new one is there."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from mmengine import hooks
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(hooks.CheckpointHook):
    """MMEngine's hook, of which a run that is killed while it saves always keeps a whole checkpoint.

    MMEngine removes what is more than ``max_keep_ckpts`` before it writes the next one: with one to keep,
    nothing is left of a run that is killed in between.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        old: list[int] = []
        limit, self.max_keep_ckpts = self.max_keep_ckpts, -1
        try:
            if limit > 0 and step not in self.keep_ckpt_ids:
                kept = [*self.keep_ckpt_ids, step]
                old, kept = kept[:-limit], kept[-limit:]
                self.keep_ckpt_ids = deque(kept)
                runner.message_hub.update_info("keep_ckpt_ids", kept)
            super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts = limit
        if is_main_process():
            for number in old:
                Path(self.out_dir, self.filename_tmpl.format(number)).unlink(missing_ok=True)
