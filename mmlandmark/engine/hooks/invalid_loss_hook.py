"""Stop a run with a loss that is not finite."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Stop training when the loss is NaN or infinite, naming the losses and the samples.

    The weights that led to it are not saved, so the last checkpoint is still good.

    Args:
        interval: Look every this many iterations.
    """

    priority = "VERY_HIGH"

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ValueError(f"interval must be at least 1, got {interval}")
        self.interval = interval

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Raise FloatingPointError if a loss of this iteration is not finite."""
        if not outputs or (runner.iter + 1) % self.interval:
            return
        values = {k: torch.as_tensor(v).float() for k, v in outputs.items() if "loss" in k}
        bad = {k: v.tolist() for k, v in values.items() if not bool(torch.isfinite(v).all())}
        if bad:
            samples = [s.get("sample_id", "?") for s in (data_batch or {}).get("data_samples", [])]
            raise FloatingPointError(
                f"epoch {runner.epoch + 1}, iteration {runner.iter + 1}: {bad} is not finite; "
                f"samples {samples}. "
                "Lower the learning rate, clip gradients (optim_wrapper.clip_grad), or look at these images."
            )
