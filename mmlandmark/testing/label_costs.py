"""What the labels of a self-training cost, as a part of the epochs that learn from them.

``python -m mmlandmark.testing.label_costs CONFIG RECORD.json`` trains the stage of a config that has a
``PseudoLabelHook`` for a few epochs, with labels by epoch and by batch. In every epoch it measures both the
labels (images read, network, selection, files) and all the rest of the epoch (images read, steps), so that
other load on the machine affects both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.engine import LandmarkRunner, load_config, plan_of_run
from mmlandmark.engine.hooks import PseudoLabelHook
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.testing.measure import median_ratio
from mmlandmark.utils.files import atomic_write_json

WAYS = {"all images before an epoch": dict(by_epoch=True), "every batch": dict(by_epoch=False)}


class _Clock(Hook):
    """Measure epochs, and the calls of a hook in them."""

    def __init__(self, hook: Hook) -> None:
        self.labels: list[float] = []
        self.epochs: list[float] = []
        self._begin: float | None = None
        for name in ("before_train_epoch", "before_train_iter"):
            setattr(hook, name, self._measured(getattr(hook, name)))

    def _measured(self, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> None:
            begin = time.perf_counter()
            function(*args, **kwargs)
            self.labels[-1] += time.perf_counter() - begin

        return call

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin an epoch."""
        self._end()
        self.labels.append(0.0)
        self._begin = time.perf_counter()

    def after_train(self, runner: Runner) -> None:
        """End the last epoch."""
        self._end()

    def _end(self) -> None:
        if self._begin is not None:
            self.epochs.append(time.perf_counter() - self._begin)


def epoch_times(config: Config, way: dict[str, Any], epochs: int, work_dir: str) -> list[tuple[float, float]]:
    """Return the seconds that labels took in every epoch but the first, and those of the rest of it.

    Args:
        config: Of one training, with a ``PseudoLabelHook``.
        way: Attributes of the hook: ``by_epoch``.
        epochs: How many are measured.
        work_dir: Work folder.

    Raises:
        ValueError: The training has no such hook.
    """
    config = Config(config._cfg_dict.to_dict())
    config.merge_from_dict(dict(work_dir=work_dir, load_from=None, resume=False))
    # Nothing is validated or saved between two epochs.
    config.train_cfg = dict(by_epoch=True, max_epochs=epochs + 1, val_interval=10**6)
    config.default_hooks["checkpoint"] = dict(type="CheckpointHook", interval=-1)
    runner = LandmarkRunner.from_cfg(config)
    hook = next((one for one in runner.hooks if isinstance(one, PseudoLabelHook)), None)
    if hook is None:
        raise ValueError("the training has no PseudoLabelHook, so nothing is labelled")
    for name, value in dict(way, start=0, interval=1).items():
        setattr(hook, name, value)
    clock = _Clock(hook)
    runner.register_hook(clock, priority="HIGHEST")
    runner.train()
    return [(labels, whole - labels) for labels, whole in zip(clock.labels, clock.epochs, strict=True)][1:]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a config of several stages, or of one")
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--epochs", type=int, default=3, help="that are measured, behind one to warm up")
    parser.add_argument("--images", type=int, help="that are labelled; all by default")
    options = parser.parse_args(arguments)
    made_by = dict(machine=machine(), versions=versions(), commit=git_commit())
    rows = {}
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as folder:
        runs = plan_of_run(load_config(options.config), folder).runs()
        (config,) = (run.config for run in runs if run.config is not None and _labels(run.config))
        if options.images:
            unlabelled = config.train_dataloader.unlabelled
            given = unlabelled.get("indices")
            unlabelled.indices = given[: options.images] if isinstance(given, list) else options.images
        for number, (name, way) in enumerate(WAYS.items()):
            times = epoch_times(config, way, options.epochs, f"{folder}/{number}")
            labels, rest = zip(*times, strict=True)
            rows[name] = dict(
                labels_seconds=round(statistics.median(labels), 3),
                rest_seconds=round(statistics.median(rest), 3),
                share=round(median_ratio(labels, rest), 4),
            )
            print(f"{name:<28} {rows[name]}")
    given = dict(config=Path(options.config).stem, epochs=options.epochs, images=options.images)
    record = dict(**given, **made_by, ways=rows)
    atomic_write_json(options.record, record)


def _labels(config: Config) -> bool:
    """Return whether a training labels images."""
    hooks = [*(config.get("custom_hooks") or ()), *(config.get("default_hooks") or {}).values()]
    return any((hook or {}).get("type") in ("PseudoLabelHook", PseudoLabelHook) for hook in hooks)


if __name__ == "__main__":
    main()
