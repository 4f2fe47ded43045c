"""Whether a long training stays as small as it was: memory, files, threads, processes, checkpoints, logs.

``python -m mmlandmark.testing.long_run RECORD.json --epochs 500`` trains a tiny detector on phantoms with a
validation after each epoch and a worker that lives on, and looks at the process after each epoch. What grows
is told by the slope of a straight line through the second half: what is set up at first does not count.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.engine import LandmarkRunner
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.testing.tiny import phantom_dataloader, tiny_config
from mmlandmark.utils.files import atomic_write_json

# What each may grow by in 1000 epochs, in units of its own; logs have a line for each epoch.
ALLOWED = dict(
    resident_mib=20.0, file_descriptors=0.5, threads=0.5, processes=0.5, shared_memory_mib=1.0,
    checkpoint_kib=400.0, log_kib=1500.0,
)  # fmt: skip


def state_of_process(folder: Path) -> dict[str, float]:
    """Return what a training in this process holds, and what it has written to a folder."""
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    checkpoints = sorted(folder.glob("epoch_*.pth"), key=lambda path: path.stat().st_mtime)
    logs = [path for path in folder.rglob("*") if path.suffix in (".log", ".json") and path.is_file()]
    shared = [path.stat().st_size for path in Path("/dev/shm").glob("torch_*")]
    return dict(
        resident_mib=int(status["VmRSS"].split()[0]) / 1024,
        file_descriptors=len(os.listdir("/proc/self/fd")),
        threads=int(status["Threads"]),
        processes=len(children.read_text().split()) if children.exists() else 0,
        shared_memory_mib=sum(shared) / 2**20,
        checkpoint_kib=checkpoints[-1].stat().st_size / 1024 if checkpoints else 0.0,
        log_kib=sum(path.stat().st_size for path in logs) / 1024,
    )


class _Watch(Hook):
    """Looks at the process after every epoch."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch:
            self.rows.append(state_of_process(Path(runner.work_dir)))


def growth(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return by how much each number grows in 1000 epochs, by the second half of the rows."""
    late = rows[len(rows) // 2 :]
    epochs = np.arange(len(late))
    return {key: float(1000 * np.polyfit(epochs, [row[key] for row in late], 1)[0]) for key in late[0]}


def watch_training(folder: str | Path, epochs: int) -> list[dict[str, float]]:
    """Train, and return the state of the process after each epoch but the last.

    Args:
        folder: Work folder.
        epochs: At least 8.
    """
    config = tiny_config(
        folder,
        max_epochs=epochs,
        train_dataloader=phantom_dataloader(num_samples=2, size=(32, 32), num_workers=1),
        val_dataloader=phantom_dataloader(num_samples=2, size=(32, 32), train=False),
        custom_hooks=[dict(type="EMAHook", momentum=0.1)],
        param_scheduler=None,
    )
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    config.default_hooks.logger = dict(type="LoggerHook", interval=1)
    watch, runner = _Watch(), LandmarkRunner.from_cfg(config)
    runner.register_hook(watch, priority="LOWEST")
    runner.train()
    return watch.rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print and write the record; return 1 if something grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--epochs", type=int, default=500, help="default 500")
    options = parser.parse_args(arguments)
    made_by: dict[str, Any] = dict(machine=machine(), versions=versions(), commit=git_commit())
    with tempfile.TemporaryDirectory() as folder:
        rows = watch_training(folder, options.epochs)
    grown = {key: round(value, 3) for key, value in growth(rows).items()}
    failed = [key for key, value in grown.items() if value > ALLOWED[key]]
    for key, value in grown.items():
        print(f"{key:<18} {rows[0][key]:10.1f} {rows[-1][key]:10.1f}  {value:+10.2f} in 1000 epochs")
    print(f"growing: {', '.join(failed) or 'nothing'}")
    few = [{key: round(value, 3) for key, value in row.items()} for row in rows[:: max(1, len(rows) // 50)]]
    record = dict(epochs=options.epochs, **made_by, growth=grown, allowed=ALLOWED, failed=failed, rows=few)
    atomic_write_json(options.record, record)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
