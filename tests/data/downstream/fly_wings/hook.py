"""A hook: what happens beside training."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class FreezeBackboneHook(Hook):
    """Train the head alone for the first iterations.

    It asks the runner how far training is instead of counting, so that a resumed run is no different.

    Args:
        iterations: For how many.
    """

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Freeze or free the backbone's weights."""
        for weight in runner.model.backbone.parameters():
            weight.requires_grad_(runner.iter >= self.iterations)
