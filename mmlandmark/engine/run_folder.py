"""The folder of one run: which config it belongs to, how far the run is, and what came out of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmlandmark.engine.checkpoint_files import best_checkpoint, is_checkpoint_name, latest_checkpoint
from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.config_data import CONFIG_FILE, config_to_data, read_config_of_run
from mmlandmark.engine.run_lock import RunLock
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.files import read_state, write_state

NOTE_FILE = "run.json"
_GO_ON = "remove it: the run then goes on from its newest checkpoint"


@dataclass(frozen=True)
class TrainedRun:
    """What a finished training left behind.

    Attributes:
        folder: Its folder.
        checkpoint: Name of the last checkpoint.
        best: Name of the best checkpoint, None if no hook kept one.
        metrics: Of the last validation.
    """

    folder: Path
    checkpoint: str
    best: str | None
    metrics: dict[str, float]

    def file(self, which: str) -> Path | None:
        """Return the path of the ``last`` or ``best`` checkpoint, None if there is no best one."""
        name = self.checkpoint if which == "last" else self.best
        return None if name is None else self.folder / name


@dataclass(frozen=True)
class RunFolder:
    """A folder, and the run it belongs to.

    The note ``run.json`` holds the run's name and fingerprint from its beginning, the checkpoints and metrics
    once it is trained, and the metrics of every step that followed. Names of files are relative to the
    folder, so that it can be moved.

    Args:
        path: The folder.
        fingerprint: A hash of everything that decides what the run computes.
        name: The run's name, for messages.
    """

    path: Path
    fingerprint: str
    name: str = ""

    @property
    def note_file(self) -> Path:
        """The file that holds the note."""
        return self.path / NOTE_FILE

    @property
    def lock(self) -> RunLock:
        """A lock for the folder, not yet taken."""
        return RunLock(self.path)

    def read(self) -> dict[str, Any] | None:
        """Return the note, None if the run has not begun.

        Raises:
            ConfigError: The folder belongs to another run, or its note is broken.
        """
        if not self.note_file.is_file():
            return None
        note = read_state(self.note_file, _GO_ON)
        if note.get("config_hash") != self.fingerprint:
            name = f"run {self.name!r}: " if self.name else ""
            raise ConfigError(
                f"{name}{self.path} holds a run with other values or other inputs (files given with --input "
                "count); remove that folder to run it again, or use another --work-dir"
            )
        for key in ("checkpoint", "best"):
            if note.get(key) is not None and not is_checkpoint_name(note[key]):
                raise ConfigError(f"{self.note_file}: {key} is {note[key]!r}, which is no file of its folder")
        steps = note.get("steps") or {}
        for part in (steps, note.get("metrics") or {}, *(steps.values() if isinstance(steps, dict) else ())):
            if not isinstance(part, dict):
                raise ConfigError(
                    f"{self.note_file} is broken: remove it to run what follows the training again"
                )
        return note

    def begin(self) -> None:
        """Claim the folder for this run.

        Raises:
            ConfigError: See :meth:`read`.
        """
        if self.read() is None:
            self._write({})

    def replace(self, metrics: Mapping[str, Any]) -> None:
        """Note a finished training that is no part of a plan, whatever the folder held before.

        Args:
            metrics: Of its last validation.
        """
        forget_run(self.path)
        self.finish_training(metrics)

    def trained(self) -> TrainedRun | None:
        """Return what the training left behind, None if it has not finished.

        Raises:
            ConfigError: See :meth:`read`.
        """
        note = self.read()
        if note is None or note.get("checkpoint") is None:
            return None
        return TrainedRun(
            self.path, note["checkpoint"], note.get("best"), _from_json(note.get("metrics") or {})
        )

    def finish_training(self, metrics: Mapping[str, Any]) -> None:
        """Note that the training has finished.

        Args:
            metrics: Of its last validation; only numbers are kept.

        Raises:
            RuntimeError: There is no checkpoint in the folder.
        """
        last, best = latest_checkpoint(self.path), best_checkpoint(self.path)
        if last is None:
            raise RuntimeError(f"run {self.name!r} ended without a checkpoint in {self.path}")
        self._write(dict(checkpoint=last.name, best=best.name if best else None, metrics=_to_json(metrics)))

    def step_metrics(self, step: str) -> dict[str, float] | None:
        """Return the metrics of a finished step, None if it has not finished.

        Raises:
            ConfigError: See :meth:`read`.
        """
        metrics = ((self.read() or {}).get("steps") or {}).get(step)
        return None if metrics is None else _from_json(metrics)

    def finish_step(self, step: str, metrics: Mapping[str, Any]) -> None:
        """Note that a step after the training has finished.

        Args:
            step: Its name.
            metrics: What it measured; only numbers are kept.
        """
        steps = dict((self.read() or {}).get("steps") or {})
        if steps.get(step) != _to_json(metrics):
            self._write(dict(steps=steps | {step: _to_json(metrics)}))

    def _write(self, changes: dict[str, Any]) -> None:
        if is_main_process():
            own = dict(name=self.name, config_hash=self.fingerprint)
            write_state(self.note_file, own | (self.read() or {}) | changes)


def forget_run(folder: str | Path) -> None:
    """Remove the note of a folder's run; another one begins there."""
    (Path(folder) / NOTE_FILE).unlink(missing_ok=True)


def _to_json(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the numbers among metrics; JSON has no NaN."""
    numbers = {key: float(value) for key, value in metrics.items() if isinstance(value, int | float)}
    return {key: value if math.isfinite(value) else None for key, value in numbers.items()}


def _from_json(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {key: math.nan if value is None else value for key, value in metrics.items()}


def write_config(folder: str | Path, resolved: dict[str, Any]) -> None:
    """Write a run's resolved config, see :func:`config_to_data`, into its folder."""
    write_state(Path(folder) / CONFIG_FILE, resolved)


def folder_of_test(config: Config, checkpoint: str | Path) -> Path:
    """Return where the results of a test go, so that a test overwrites only its own results.

    The first test of a run, and the same test again, goes to ``test`` in the run's folder, with a note that
    identifies it. Others go to a folder that says what is tested: ``test_last`` (the newest checkpoint),
    ``test_best``, ``test_epoch_3``. A checkpoint from another folder, or another config than the run was
    trained with, adds digits of a hash.

    Args:
        config: The tested config of one run; ``work_dir`` is the run's folder.
        checkpoint: The weights.
    """
    folder, label = Path(config.work_dir), _label_of_test(config, Path(checkpoint))
    note = folder / "test" / "test.json"
    if note.is_file():
        first = name_of_test(note)
    else:  # earlier versions left no note
        first = "test_last" if note.parent.is_dir() else label
    if first != label:
        return folder / label
    if is_main_process():
        write_state(note, dict(test=label))
    return note.parent


def name_of_test(note: str | Path) -> str:
    """Return which test a folder holds the results of, see :func:`folder_of_test`.

    Args:
        note: The file ``test.json`` in the folder.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or is no such note.
    """
    cure = "remove its folder and test again"
    name = read_state(note, cure).get("test")
    if not isinstance(name, str):
        raise ValueError(f"{note}: 'test' must name a test: restore the file from a copy, or {cure}")
    return name


def _label_of_test(config: Config, checkpoint: Path) -> str:
    folder = Path(config.work_dir)
    inside = checkpoint.parent.resolve() == folder.resolve()
    best, latest = (find(folder) if inside else None for find in (best_checkpoint, latest_checkpoint))
    if best is not None and best.name == checkpoint.name:
        label = "test_best"
    elif latest is not None and latest.name == checkpoint.name:
        label = "test_last"
    else:
        label = f"test_{checkpoint.stem}"
    marks = "" if inside else str(checkpoint.resolve())
    trained, own = read_config_of_run(folder), _hash_of_test(config_to_data(config))
    if trained is not None and _hash_of_test(trained[0]) != own:
        marks += own
    return f"{label}_{hashlib.sha256(marks.encode()).hexdigest()[:8]}" if marks else label


def _hash_of_test(config: dict[str, Any]) -> str:
    """Return a hash of what decides the numbers of a test."""
    keys = ("model", "data_preprocessor", "test_dataloader", "test_evaluator", "test_cfg")
    return config_hash({key: config[key] for key in keys if config.get(key)})
