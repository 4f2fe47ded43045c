"""How long a training step takes on this machine, measured with the config that will be trained."""

from __future__ import annotations

import copy
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmlandmark.engine import LandmarkRunner
from mmlandmark.planning.budget_rules import PUBLISHED, Speed
from mmlandmark.utils.package_files import package_file

_WARM, _ROUNDS = 3, 7  # steps that are left out, and that are measured
_START_OF_PYTHON = 4.0  # seconds until a command has imported everything


class StepTimes(Hook):
    """Notes the time after every step.

    Attributes:
        began: Time of the first step's begin.
        ends: Times of the steps' ends.
    """

    def __init__(self) -> None:
        self.began, self.ends = 0.0, list[float]()

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Note when the first step begins."""
        self.began = self.began or time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Note when a step ends."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def measure_speed(config: Config, ids: Sequence[str], read_seconds: float) -> Speed:
    """Train a few steps in a temporary folder, and return how long they take with loading.

    Args:
        config: Of the run that is planned.
        ids: Samples to train on; two batches of them are used.
        read_seconds: Of decoding an image.

    Returns:
        The speed, once images are in the cache.
    """
    config = copy.deepcopy(config)
    batch = config.train_dataloader.batch_size
    times = StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        runner = LandmarkRunner.from_cfg(_short(config, list(ids)[: 2 * batch], folder))
        runner.register_hook(times, priority="LOWEST")
        _silence(runner)
        runner.train()
    steps = [b - a for a, b in zip(times.ends, times.ends[1:], strict=False)][_WARM - 1 :]
    return Speed(
        iteration=statistics.median(steps),
        first_read=1.3 * read_seconds,  # it is also resized
        start=times.began - begin + _START_OF_PYTHON,
        batch=batch,
    )


def _short(config: Config, ids: list[str], folder: str) -> Config:
    """Return the config of the first steps of a run, over and over the same two batches."""
    loader = config.train_dataloader
    batches = -(-len(ids) // loader.batch_size)
    loader.dataset = dict(
        type="RepeatDataset",
        times=-(-(_WARM + _ROUNDS) // batches),
        dataset=dict(loader.dataset, ids=ids, serialize_data=False),
    )
    loader.sampler = dict(type="DefaultSampler", shuffle=False)  # so that the first batches fill the cache
    for part in ("val", "test"):
        for key in ("dataloader", "cfg", "evaluator"):
            config.pop(f"{part}_{key}", None)
    config.train_cfg = dict(by_epoch=True, max_epochs=1)
    config.default_hooks.pop("visualization", None)
    config.default_hooks.update(checkpoint=None, logger=None)  # None switches off what MMEngine adds itself
    config.work_dir, config.load_from = folder, None
    config.experiment_name = f"speed_{os.getpid()}_{time.monotonic_ns()}"
    config.randomness = dict(seed=0)
    return config


def _silence(runner: LandmarkRunner) -> None:
    """Keep the trial off the terminal; its log goes with its folder."""
    for handler in list(runner.logger.handlers):
        if isinstance(handler, logging.FileHandler) or not isinstance(handler, logging.StreamHandler):
            continue
        runner.logger.removeHandler(handler)


def available_memory() -> float:
    """Return the bytes that a training may take: of the GPU, or of this machine."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    return 4.0 * 2**30


def weights_installed() -> bool:
    """Return whether the published weights that a plan may start from are installed."""
    try:
        return package_file(PUBLISHED).is_file()
    except (FileNotFoundError, ValueError):
        return False


def busy_note() -> str | None:
    """Return a warning if other programs took the processor while steps were measured, else None."""
    load, cores = (os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0), os.cpu_count() or 1
    if load <= cores + 1:
        return None
    return (
        f"this machine was busy (load {load:.1f} on {cores} cores) while steps were measured: when it is "
        "quiet, the training takes less time, and a new plan gives it more epochs"
    )


def describe_machine() -> str:
    """Return what a training would run on, in a few words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    count = torch.get_num_threads()
    return f"CPU, {count} thread{'s' if count > 1 else ''}"
