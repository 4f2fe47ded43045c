"""Hooks for runs in two processes, of which one takes its time or waits for ever, or that log their steps."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from itertools import repeat
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class SlowRank(Hook):
    """Let the second process do something else for a while after the second step of a run.

    Args:
        seconds: That it sleeps, and then again computes without giving other threads a turn.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None):
        if runner.rank == 1 and runner.iter == 1:
            time.sleep(self.seconds)
            busy_for(self.seconds)


@HOOKS.register_module()
class WorkingRank(Hook):
    """Let the second process work honestly after the second step: itself, and by a process that it starts.

    Args:
        seconds: That either takes.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None):
        if runner.rank == 1 and runner.iter == 1:
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                sum(range(1000))
            code = f"import time; end = time.monotonic() + {self.seconds}\nwhile time.monotonic() < end: pass"
            subprocess.run([sys.executable, "-c", code], check=True)


@HOOKS.register_module()
class WaitingRank(Hook):
    """Let the second process wait for ever after some steps, as for a lock that nobody gives back."""

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None):
        if runner.rank == 1 and runner.iter == 3:
            threading.Event().wait()


@HOOKS.register_module()
class StepLog(Hook):
    """Write down every step: a line with the epoch, from 1, in a file of each process.

    Args:
        folder: Of the files.
        pause: A process with the variable ``PAUSES`` waits for ever after the first step of this epoch.
    """

    def __init__(self, folder: str, pause: int) -> None:
        self.folder, self.pause = Path(folder), pause

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None):
        with (self.folder / f"steps_of_{runner.world_size}_{os.getpid()}").open("a") as log:
            log.write(f"{runner.epoch + 1}\n")
        if "PAUSES" in os.environ and runner.epoch + 1 == self.pause:
            (self.folder / "pauses").touch()
            threading.Event().wait()


def busy_for(seconds: float) -> None:
    """Compute for some time in one call of C, which no other thread interrupts."""
    begun = time.perf_counter()
    sum(repeat(1, 10**6))
    rate = 10**6 / (time.perf_counter() - begun)
    sum(repeat(1, int(rate * seconds)))
