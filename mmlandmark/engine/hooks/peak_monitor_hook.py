"""Name landmarks with empty heatmaps, which a mean error would hide."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.engine.hooks.landmark_visualization_hook import by_iteration, training_step
from mmlandmark.registry import HOOKS


class CollapsedLandmarkError(RuntimeError):
    """A landmark's heatmap stayed near zero although others have peaks."""


@HOOKS.register_module()
class PeakMonitorHook(Hook):
    """Watch the height of every landmark's predicted peak during validation and test.

    A landmark is called collapsed when its mean peak is below ``ratio`` times the median of all
    landmarks. Its mean error then measures nothing but where the map's noise happened to be highest, and
    pulls the reported mean with it. The lowest peak of every validation is logged as ``peak/lowest``.

    Args:
        ratio: Fraction of the median peak below which a landmark is called collapsed.
        start: Fraction of the training after which a collapse is reported; before, peaks are still growing.
        action: ``warn`` or ``raise``.
    """

    priority = "BELOW_NORMAL"

    def __init__(self, ratio: float = 0.1, start: float = 0.3, action: str = "warn") -> None:
        if not 0 < ratio < 1 or not 0 <= start <= 1 or action not in ("warn", "raise"):
            raise ValueError(
                f"PeakMonitorHook needs 0 < ratio < 1, 0 <= start <= 1 and action 'warn' or 'raise', "
                f"got {ratio}, {start}, {action!r}"
            )
        self.ratio, self.start, self.action = ratio, start, action
        self._total: torch.Tensor | None = None
        self._count = 0

    def _reset(self) -> None:
        self._total, self._count = None, 0

    def before_val_epoch(self, runner: Runner) -> None:
        """Start counting."""
        self._reset()

    def before_test_epoch(self, runner: Runner) -> None:
        """Start counting."""
        self._reset()

    def _add(self, outputs: Any) -> None:
        scores = [s.pred_scores for s in outputs or () if "pred_scores" in s]
        if scores:
            total = torch.stack([s.double().cpu() for s in scores]).sum(0)
            self._total = total if self._total is None else self._total + total
            self._count += len(scores)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add the peaks of one batch."""
        self._add(outputs)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add the peaks of one batch."""
        self._add(outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report, if training has come far enough."""
        length = runner.max_iters if by_iteration(runner) else runner.max_epochs
        trains = runner._train_loop is not None
        done = training_step(runner) / max(length, 1) if trains else 1.0
        self._report(runner, done >= self.start, runner.val_dataloader)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report."""
        self._report(runner, True, runner.test_dataloader)

    def _report(self, runner: Runner, counts: bool, loader: Any) -> None:
        if self._total is None:
            return
        # Summed over processes, so that all of them come to the same verdict.
        summed = torch.cat([self._total, torch.tensor([float(self._count)], dtype=torch.float64)])
        all_reduce(summed)
        peaks = summed[:-1] / summed[-1]
        self._reset()
        runner.message_hub.update_scalar("val/peak/lowest", float(peaks.min()))
        low = collapsed_landmarks(peaks, self.ratio)
        if not low or not counts:
            return
        names = getattr(loader.dataset, "metainfo", {}).get("landmark_names")
        called = ", ".join(
            f"{names[i] if names else i} (index {i}, mean peak {float(peaks[i]):.3g})" for i in low
        )
        message = (
            f"collapsed heatmap: {called}, against a median peak of {float(peaks.median()):.3g}. "
            "The error of these landmarks is meaningless. See "
            "docs/collapsed_channels.md for the cause and the cure."
        )
        if self.action == "raise":
            raise CollapsedLandmarkError(message)
        runner.logger.log(logging.WARNING, message)


def collapsed_landmarks(peaks: torch.Tensor, ratio: float) -> list[int]:
    """Return the indices of landmarks whose (K,) mean peak is below ``ratio`` times the median."""
    return [int(i) for i in (peaks < ratio * peaks.median()).nonzero().flatten()]
