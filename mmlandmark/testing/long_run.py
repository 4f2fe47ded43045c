"""Whether a long training stays as small as it was: memory, files, threads, processes, checkpoints, logs.

``python -m mmlandmark.testing.long_run RECORD.json --epochs 500`` trains a tiny detector on phantoms with a
validation after each epoch and a worker that lives on, and looks at the process and its children after each
epoch. What grows is told by the slope of a straight line through the second half: what is set up at first
does not count. Logs have small limits, so that they are reached, and must never be larger.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.engine import LandmarkRunner
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.testing.tiny import phantom_dataloader, tiny_config
from mmlandmark.utils.bounded_logs import total_size
from mmlandmark.utils.files import atomic_write_json

# What each may grow by in 1000 epochs, in units of its own.
ALLOWED = dict(
    resident_mib=20.0, worker_resident_mib=20.0, file_descriptors=0.5, worker_file_descriptors=0.5,
    threads=0.5, processes=0.5, shared_mapped_mib=1.0, shared_files_mib=1.0, checkpoint_kib=5.0,
)  # fmt: skip
LOG_MIB, PICTURES_MIB = 1 / 16, 1 / 4
# What logs may have at any time: MMEngine writes numbers twice, and pictures may go to two backends.
LIMITS = dict(
    text_kib=1024 * LOG_MIB, numbers_kib=2048 * LOG_MIB, events_kib=1024 * LOG_MIB,
    pictures_kib=2048 * PICTURES_MIB,
)  # fmt: skip
_SHARED = (
    "/dev/shm/",
    "/memfd:",
)  # where the memory lies that processes share, also after its file is removed


def state_of_process(folder: Path) -> dict[str, float]:
    """Return what a training in this process and its children holds, and what it has written to a folder."""
    own, children = os.getpid(), list(_descendants(os.getpid()))
    states = {pid: _status(pid) for pid in [own, *children]}
    checkpoints = sorted(folder.glob("epoch_*.pth"), key=lambda path: path.stat().st_mtime)
    files = [path for path in folder.rglob("*") if path.is_file()]
    events = [path for path in files if ".tfevents." in path.name]
    shown = [path for path in events if path.parent.name == "pictures"]
    return dict(
        resident_mib=states[own].get("VmRSS", 0) / 1024,
        worker_resident_mib=sum(states[pid].get("VmRSS", 0) for pid in children) / 1024,
        file_descriptors=len(_open_files(own)),
        worker_file_descriptors=sum(len(_open_files(pid)) for pid in children),
        threads=states[own].get("Threads", 0),
        processes=len(children),
        shared_mapped_mib=sum(state.get("RssShmem", 0) for state in states.values()) / 1024,
        shared_files_mib=_shared_files([own, *children]) / 2**20,
        checkpoint_kib=checkpoints[-1].stat().st_size / 1024 if checkpoints else 0.0,
        text_kib=total_size(path for path in files if path.suffix == ".log") / 1024,
        numbers_kib=total_size(folder.glob("*/vis_data/*.json")) / 1024,
        events_kib=total_size(set(events) - set(shown)) / 1024,
        pictures_kib=total_size([path for path in files if path.suffix == ".png"] + shown) / 1024,
    )


def _descendants(pid: int) -> Iterator[int]:
    for task in _listed(Path(f"/proc/{pid}/task")):
        try:
            children = (task / "children").read_text(encoding="ascii").split()
        except OSError:  # it has ended since
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # of a process that has ended since
        return []


def _status(pid: int) -> dict[str, int]:
    """Return the numbers in the status of a process, those of memory in KiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines)
    return {row[0].rstrip(":"): int(row[1]) for row in words if len(row) > 1 and row[1].isdigit()}


def _open_files(pid: int) -> list[Path]:
    return _listed(Path(f"/proc/{pid}/fd"))


def _shared_files(pids: Sequence[int]) -> int:
    """Return the bytes of the shared memory that processes have open, each file counted once."""
    sizes = dict[tuple[int, int], int]()
    for path in (path for pid in pids for path in _open_files(pid)):
        try:
            if os.readlink(path).startswith(_SHARED):
                status = path.stat()
                sizes[status.st_dev, status.st_ino] = 512 * status.st_blocks
        except OSError:  # closed since
            continue
    return sum(sizes.values())


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


def watch_training(
    folder: str | Path, epochs: int, events: bool = False, hooks: Sequence[Hook] = ()
) -> list[dict[str, float]]:
    """Train, and return the state of the process after each epoch but the last.

    Args:
        folder: Work folder.
        epochs: At least 8.
        events: Write events of TensorBoard, too.
        hooks: Further hooks.
    """
    config = tiny_config(
        folder,
        max_epochs=epochs,
        train_dataloader=phantom_dataloader(num_samples=2, size=(32, 32), num_workers=1),
        val_dataloader=phantom_dataloader(num_samples=2, size=(32, 32), train=False),
        custom_hooks=[dict(type="EMAHook", momentum=0.1)],
        param_scheduler=None,
        log_level="INFO",
    )
    config.env_cfg.update(log_mib=LOG_MIB, pictures_mib=PICTURES_MIB)
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    config.default_hooks.logger = dict(type="LoggerHook", interval=1)
    config.default_hooks.visualization = dict(type="LandmarkVisualizationHook", num_samples=1)
    config.visualizer.long_side = 64
    if events:
        config.visualizer.vis_backends.append(dict(type="TensorboardVisBackend"))
    watch, runner = _Watch(), LandmarkRunner.from_cfg(config)
    for hook in (*hooks, watch):
        runner.register_hook(hook, priority="LOWEST")
    runner.train()
    return watch.rows


def largest(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the most that logs had at any time."""
    return {key: max(row[key] for row in rows) for key in LIMITS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print and write the record; return 1 if something grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--epochs", type=int, default=500, help="default 500")
    options = parser.parse_args(arguments)
    made_by: dict[str, Any] = dict(machine=machine(), versions=versions(), commit=git_commit())
    events = importlib.util.find_spec("tensorboard") is not None
    with tempfile.TemporaryDirectory() as folder:
        rows = watch_training(folder, options.epochs, events)
    grown = {key: round(value, 3) for key, value in growth(rows).items() if key in ALLOWED}
    most = {key: round(value, 3) for key, value in largest(rows).items()}
    failed = [key for key, value in grown.items() if value > ALLOWED[key]]
    failed += [key for key, value in most.items() if value > LIMITS[key]]
    for key, value in grown.items():
        print(f"{key:<24} {rows[0][key]:8.1f} {rows[-1][key]:8.1f}  {value:+10.2f} in 1000 epochs")
    for key, value in most.items():
        print(f"{key:<24} {rows[0][key]:8.1f} {rows[-1][key]:8.1f}  {value:10.2f} at most")
    print(f"growing: {', '.join(failed) or 'nothing'}")
    few = [{key: round(value, 3) for key, value in row.items()} for row in rows[:: max(1, len(rows) // 50)]]
    record = dict(epochs=options.epochs, events=events, **made_by, growth=grown, allowed=ALLOWED)
    atomic_write_json(options.record, record | dict(largest=most, limits=LIMITS, failed=failed, rows=few))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
