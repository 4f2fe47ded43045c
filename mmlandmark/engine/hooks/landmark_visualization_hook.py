"""Pictures of predictions, in validations and tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmlandmark.datasets.image_io import read_image
from mmlandmark.registry import HOOKS


def by_iteration(runner: Runner) -> bool:
    """Whether the training counts iterations instead of epochs."""
    return isinstance(runner._train_loop, IterBasedTrainLoop)  # train_loop would build one that only tests


def training_step(runner: Runner) -> int:
    """Return how far the training is, in the unit that it counts in."""
    return runner.iter if by_iteration(runner) else runner.epoch


@HOOKS.register_module()
class LandmarkVisualizationHook(Hook):
    """Draw predictions of the first cases of every validation, and of the test.

    The original image is drawn where the case came from a file, the network's input where it did not.

    Args:
        num_samples: How many cases to draw.
    """

    def __init__(self, num_samples: int = 4) -> None:
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}")
        self.num_samples = num_samples
        self._drawn = 0

    def before_val_epoch(self, runner: Runner) -> None:
        """Start counting."""
        self._drawn = 0

    def before_test_epoch(self, runner: Runner) -> None:
        """Start counting."""
        self._drawn = 0

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """Draw the cases of this batch that are still wanted."""
        self._draw(runner, data_batch, outputs, "val", training_step(runner))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """Draw the cases of this batch that are still wanted."""
        self._draw(runner, data_batch, outputs, "test", 0)

    @master_only
    def _draw(self, runner: Runner, data_batch: Any, outputs: Sequence | None, kind: str, step: int) -> None:
        wanted = list(enumerate(outputs or ()))[: self.num_samples - self._drawn]
        for i, sample in wanted:
            if sample.get("img_path"):
                loaded = read_image(sample.img_path, fill_value=0.0)
                shown = dict(image_from_original=loaded.img_from_original, window=loaded.window)
                image = loaded.array
            else:
                image = sample.unit_pixels(data_batch["inputs"][i])
                shown = dict(image_from_original=sample.input_from_original)
            runner.visualizer.add_datasample(f"{kind}_{sample.sample_id}", image, sample, step=step, **shown)
        self._drawn += len(wanted)
