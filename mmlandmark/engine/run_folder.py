"""The folder of one run: whose it is, what it holds, and who writes to it now."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.config_data import CONFIG_FILE, config_to_data, read_config_of_run
from mmlandmark.engine.training_state import Best, is_best_name
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.files import atomic_write_json, atomic_write_text, read_json

BEST_NOTE = "best.json"


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the newest whole checkpoint of a run, or None.

    The note ``last_checkpoint`` names it; of a run killed between checkpoint and note it is a file that is
    younger than the note. Without a note it is the highest number.
    """
    folder = Path(work_dir)
    note = folder / "last_checkpoint"
    text = note.read_text(encoding="utf-8", errors="replace").strip() if note.is_file() else ""
    name = re.split(r"[/\\]", text)[-1]
    numbered = numbered_checkpoints(folder)
    noted = folder / name if _is_name(name) and (folder / name).is_file() else None
    if noted is not None:
        written = note.stat().st_mtime_ns
        numbered = {number: p for number, p in numbered.items() if p.stat().st_mtime_ns > written}
    return numbered[max(numbered)] if numbered else noted


def numbered_checkpoints(folder: str | Path) -> dict[int, Path]:
    """Return the checkpoints of a run's folder by their epoch or iteration."""
    return {
        int(m[1]): p
        for p in Path(folder).glob("*.pth")
        if (m := re.fullmatch(r"(?:epoch|iter)_(\d+)\.pth", p.name))
    }


def best_checkpoint(work_dir: str | Path) -> Path | None:
    """Return what ``CheckpointHook(save_best=...)`` kept in a run's folder, or None.

    The note ``best.json`` names it, with its score; of several metrics the first counts. Folders of earlier
    versions have no such note: there it is the newest.
    """
    folder = Path(work_dir)
    if not (folder / BEST_NOTE).is_file():
        return max(folder.glob("best_*.pth"), key=lambda path: path.stat().st_mtime, default=None)
    names = [record.get("file") for record in _best_note(folder)["best"].values()]
    found = (folder / name for name in names if is_best_name(name))
    return next((path for path in found if path.is_file()), None)


def note_best(work_dir: str | Path, best: Mapping[str, Best], superseded: str | None = None) -> None:
    """Note which checkpoint is the best by each metric.

    Args:
        work_dir: The run's folder.
        best: Metric -> its best checkpoint.
        superseded: Name of a file that is to be removed once the run's newest checkpoint knows its successor.
    """
    records = {key: dict(file=b.file, score=b.score, step=b.step) for key, b in best.items()}
    content = dict(best=records, superseded=[superseded] if superseded else [])
    atomic_write_json(Path(work_dir) / BEST_NOTE, content)


def remove_superseded(work_dir: str | Path, best: Mapping[str, Best]) -> None:
    """Remove what :func:`note_best` said is superseded, unless it is the best again."""
    folder = Path(work_dir)
    if not (folder / BEST_NOTE).is_file():
        return
    for name in _best_note(folder)["superseded"]:
        if is_best_name(name) and name not in {b.file for b in best.values()} and (folder / name).is_file():
            (folder / name).unlink()


def _best_note(folder: Path) -> dict[str, Any]:
    note = read_json(folder / BEST_NOTE)
    best, superseded = note.get("best"), note.get("superseded", [])
    if not isinstance(best, dict) or not all(isinstance(record, dict) for record in best.values()):
        raise ValueError(f"{folder / BEST_NOTE}: 'best' must name a file for every metric; remove the note")
    return dict(best=best, superseded=superseded if isinstance(superseded, list) else [])


def _is_name(name: str) -> bool:
    """Whether this is the name of a checkpoint; never a path."""
    return re.fullmatch(r"[\w@.=+-]{1,200}\.pth", name) is not None


class RunLock:
    """One run at a time writes to a folder.

    The lock is a file ``run.lock`` that names host and process, and is touched every half minute. It is
    taken over if its process is gone, or, from another host, if it has not been touched for some minutes.

    Args:
        folder: The run's folder; made if need be.

    Raises:
        ConfigError: On entering: another run writes to the folder; host and process are named.
    """

    every, silent = 30.0, 300.0  # seconds between two touches, and until another host's lock is stale

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.path = Path(folder), Path(folder) / "run.lock"
        self._ended = threading.Event()

    def __enter__(self) -> RunLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self._take():
            owner = self._owner()
            if owner and not self._stale(owner):
                raise ConfigError(
                    f"{self.folder}: another run writes here, process {owner.get('pid')} on "
                    f"{owner.get('host')}; wait for it, end it, or use another --work-dir "
                    f"({self.path} is its lock)"
                )
            self.path.unlink(missing_ok=True)
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._owner() == _this_process():
            self.path.unlink(missing_ok=True)

    def _take(self) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(_this_process(), file)
        return True

    def _owner(self) -> dict[str, Any]:
        """Return who holds the lock; nothing if nobody does, or if it was cut off while it was written."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _stale(self, owner: dict[str, Any]) -> bool:
        if owner.get("host") == socket.gethostname():
            return owner.get("began") is None or owner["began"] != _began(owner.get("pid"))
        try:
            return time.time() - self.path.stat().st_mtime > self.silent
        except FileNotFoundError:
            return True

    def _beat(self) -> None:
        while not self._ended.wait(self.every):
            try:
                os.utime(self.path)
            except OSError:
                return


def _this_process() -> dict[str, Any]:
    return dict(host=socket.gethostname(), pid=os.getpid(), began=_began(os.getpid()))


def _began(pid: Any) -> str | None:
    """Return when a process of this machine began, None if there is none of that number.

    Numbers are given anew; where the system does not say when a process began, the number alone counts.
    """
    if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # it is there, and somebody else's
    except (ProcessLookupError, OverflowError):
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return "unknown"
    return None if fields[0] == "Z" else fields[19]  # a zombie is dead


def clean_temporaries(folder: str | Path) -> list[str]:
    """Remove what a kill left of files that were being written, and return their names.

    Only for the holder of the folder's lock: nobody else writes checkpoints there. Notes may be written by
    other programs, a temporary one must be an hour old.
    """
    removed = []
    for path in Path(folder).glob(".*-*"):
        kind = re.fullmatch(r"\.[\w@.=+-]+-[a-z0-9_]{8}\.(pth|json|py)", path.name)
        if kind is None or not path.is_file() or path.is_symlink():
            continue
        if kind[1] == "pth" or time.time() - path.stat().st_mtime > 3600:
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed


def claim_folder(
    folder: str | Path, config: Config, metrics: dict[str, float] | None = None
) -> dict[str, float] | None:
    """Note in a folder which run it holds, and what came out of it.

    Args:
        folder: Work folder of one run.
        config: What it runs: data, model, schedule, seed and starting weights count.
        metrics: What came out, when it has ended.

    Returns:
        What came out of the run, if it ended before.

    Raises:
        ConfigError: The folder holds a run with other values.
    """
    note, now = Path(folder) / "run.json", config_hash(config, with_start=True)
    if note.is_file():
        found = read_json(note)
        if found.get("config_hash") != now:
            raise ConfigError(f"{folder} holds a run with other values: remove it to run it again")
        if metrics is None and isinstance(found.get("metrics"), dict):
            return {key: float("nan") if v is None else v for key, v in found["metrics"].items()}
    if is_main_process():
        told = {key: v if math.isfinite(v) else None for key, v in (metrics or {}).items()}
        atomic_write_json(note, dict(config_hash=now, metrics=None if metrics is None else told))
    return metrics


def write_config(folder: str | Path, resolved: dict[str, Any]) -> None:
    """Leave a run's resolved config, see :func:`config_to_data`, in its folder."""
    text = json.dumps(resolved, indent=2)
    atomic_write_text(Path(folder) / CONFIG_FILE, text + "\n")


def folder_of_test(config: Config, checkpoint: str | Path) -> Path:
    """Return where the results of a test go, so that it overwrites those of the same test only.

    The first test goes to ``test`` in the run's folder, with a note which it is, and so does the same again.
    Another goes to a folder that says what is tested: ``test_last`` (the newest checkpoint), ``test_best``,
    ``test_epoch_3``; a file of another folder, or what the run was not trained with, adds digits of a hash.

    Args:
        config: What is tested, of one run; ``work_dir`` is the run's folder.
        checkpoint: The weights.
    """
    folder, label = Path(config.work_dir), _label_of_test(config, Path(checkpoint))
    note = folder / "test" / "test.json"
    if note.is_file():
        first = read_json(note).get("test")
    else:  # earlier versions left no note
        first = "test_last" if note.parent.is_dir() else label
    if first != label:
        return folder / label
    if is_main_process():
        atomic_write_json(note, dict(test=label))
    return note.parent


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
