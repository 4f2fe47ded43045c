"""Checkpoint files in a run's folder: the newest, the best, and what a kill left half-written."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from mmlandmark.engine.training_state import Best, check_is_training, is_best_name
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.files import atomic_write_text, read_state, write_state

BEST_NOTE = "best.json"
_LATEST, _LIST = "last_checkpoint", "last_checkpoint.json"  # the newest; which others were there with it
_TAIL = 256  # bytes at the end of a checkpoint: they hold the hash of its content


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the newest whole checkpoint of a run, or None.

    The note ``last_checkpoint`` names it. After a kill between checkpoint and note it is the file that the
    list beside the note does not have, if its number is higher, whatever the times of the files: a copy of
    the folder may have others. A lower number is that of a new run in the folder if it is younger than the
    note. Notes of earlier versions have no list: there it is the file that is younger than the note. Without
    a note it is the one with the highest number.

    Raises:
        ValueError: The list is damaged.
    """
    folder = Path(work_dir)
    note, name = folder / _LATEST, _noted(folder)
    numbered = numbered_checkpoints(folder)
    noted = folder / name if is_checkpoint_name(name) and (folder / name).is_file() else None
    if noted is not None:
        known, written = _known(folder, name), note.stat().st_mtime_ns
        own = next((number for number, p in numbered.items() if p == noted), None)

        def is_newer(number: int, path: Path) -> bool:
            try:
                younger = path.stat().st_mtime_ns > written
                if known is None or own is None:
                    return younger
                return known.get(path.name) != _end_of(path) and (number > own or younger)
            except FileNotFoundError:
                return False  # the training that writes there has removed it meanwhile

        numbered = {number: p for number, p in numbered.items() if is_newer(number, p)}
    return numbered[max(numbered)] if numbered else noted


def _noted(folder: Path) -> str:
    """Return the name in the note of the newest checkpoint, empty if there is none."""
    note = folder / _LATEST
    text = note.read_text(encoding="utf-8", errors="replace").strip() if note.is_file() else ""
    return re.split(r"[/\\]", text)[-1]


def newest_whole(work_dir: str | Path) -> tuple[Path | None, dict[Path, str]]:
    """Return the newest checkpoint from which a run can be resumed, and what is wrong with those after it.

    Returns:
        The checkpoint, None if none can be loaded; damaged or foreign file -> why it cannot be used.
    """
    newest, numbered = latest_checkpoint(work_dir), numbered_checkpoints(work_dir)
    number = next((n for n, path in numbered.items() if path == newest), None)
    # A higher number is left from another run in this folder.
    before = [numbered[n] for n in sorted(numbered, reverse=True) if number is None or n < number]
    damaged = {}
    for path in [] if newest is None else [newest, *before]:
        try:
            check_is_training(load_checkpoint(path), str(path))
        except (FileNotFoundError, ValueError) as error:
            damaged[path] = str(error)
        else:
            return path, damaged
    return None, damaged


def put_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that a run can write a new one of its name; return the new path."""
    names = (f"{path.name}.damaged{number if number > 1 else ''}" for number in count(1))
    aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    return path.rename(aside)


def note_latest(path: Path) -> None:
    """Note that a checkpoint is the newest of its folder, whatever others are there, and list these."""
    files = {other.name: _end_of(other) for other in numbered_checkpoints(path.parent).values()}
    atomic_write_text(path.with_name(_LATEST), str(path))
    write_state(path.with_name(_LIST), dict(checkpoint=path.name, files=files))


def note_resumed(path: Path) -> None:
    """Note the checkpoint from which a run goes on, if it is the newest and a kill came before its note."""
    if latest_checkpoint(path.parent) == path and _noted(path.parent) != path.name:
        note_latest(path)


def _known(folder: Path, name: str) -> dict[str, str] | None:
    """Return the ends of the files that were there when a checkpoint was noted, None if that is not known."""
    cure = "remove it: the newest checkpoint is then found by the times of the files"
    try:
        content = read_state(folder / _LIST, cure)
    except FileNotFoundError:
        return None  # of an earlier version: times tell, as they did before
    files = content.get("files")
    if not isinstance(content.get("checkpoint"), str) or not isinstance(files, dict):
        raise ValueError(
            f"{folder / _LIST}: this is no list of checkpoints: restore it from a copy, or {cure}"
        )
    # After a kill between note and list, the list is that of the checkpoint before.
    return files if content["checkpoint"] == name else None


def _end_of(path: Path) -> str:
    """Return a hash that tells checkpoints apart: of the end of the file, where its own hash is."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL), os.SEEK_SET)
        return hashlib.sha256(file.read()).hexdigest()


def numbered_checkpoints(folder: str | Path) -> dict[int, Path]:
    """Return the checkpoints of a run's folder by their epoch or iteration."""
    return {
        int(m[1]): p
        for p in Path(folder).glob("*.pth")
        if (m := re.fullmatch(r"(?:epoch|iter)_(\d+)\.pth", p.name))
    }


def best_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the checkpoint that ``CheckpointHook(save_best=...)`` kept in a run's folder, or None.

    The note ``best.json`` names it, with its score; of several metrics the first counts. Folders without the
    note were written by earlier versions: there it is the newest best checkpoint.
    """
    folder = Path(work_dir)
    if not (folder / BEST_NOTE).is_file():
        return max(folder.glob("best_*.pth"), key=lambda path: path.stat().st_mtime, default=None)
    names = [record.get("file") for record in _best_note(folder)["best"].values()]
    paths = (folder / name for name in names if is_best_name(name))
    return next((path for path in paths if path.is_file()), None)


def note_best(work_dir: str | Path, best: Mapping[str, Best], superseded: str | None = None) -> None:
    """Note which checkpoint is the best by each metric.

    Args:
        work_dir: The run's folder.
        best: Metric -> its best checkpoint.
        superseded: Name of a file that is to be removed once the run's newest checkpoint knows its successor.
    """
    records = {key: dict(file=b.file, score=b.score, step=b.step) for key, b in best.items()}
    content = dict(best=records, superseded=[superseded] if superseded else [])
    write_state(Path(work_dir) / BEST_NOTE, content)


def remove_superseded(work_dir: str | Path, best: Mapping[str, Best]) -> None:
    """Remove the file that :func:`note_best` marked as superseded, unless it is the best again."""
    folder = Path(work_dir)
    if not (folder / BEST_NOTE).is_file():
        return
    for name in _best_note(folder)["superseded"]:
        if is_best_name(name) and name not in {b.file for b in best.values()} and (folder / name).is_file():
            (folder / name).unlink()


def _best_note(folder: Path) -> dict[str, Any]:
    note = read_state(folder / BEST_NOTE, "remove it: the best checkpoint is then the youngest one")
    best, superseded = note.get("best"), note.get("superseded", [])
    if not isinstance(best, dict) or not all(isinstance(record, dict) for record in best.values()):
        raise ValueError(f"{folder / BEST_NOTE}: 'best' must name a file for every metric; remove the note")
    return dict(best=best, superseded=superseded if isinstance(superseded, list) else [])


def is_checkpoint_name(name: Any) -> bool:
    """Whether this is the name of a checkpoint file; never a path."""
    return isinstance(name, str) and re.fullmatch(r"[\w@.=+-]{1,200}\.pth", name) is not None


def clean_temporaries(folder: str | Path, notes: bool = False) -> list[str]:
    """Remove half-written files that a kill left behind, and return their names.

    Only the holder of the folder's lock may call this: nobody else writes checkpoints there. Other programs
    may be writing notes, so a temporary note must be an hour old.

    Args:
        folder: Of the run.
        notes: Nobody else writes notes there either: remove young ones, too.
    """
    removed = []
    for path in Path(folder).glob(".*-*"):
        kind = re.fullmatch(r"\.[\w@.=+-]+-[a-z0-9_]{8}\.(pth|json|py|lock)", path.name)
        if kind is None or not path.is_file() or path.is_symlink():
            continue
        try:
            if notes or kind[1] == "pth" or time.time() - path.stat().st_mtime > 3600:
                path.unlink()
                removed.append(path.name)
        except FileNotFoundError:
            continue  # the program that was writing it has finished
    return removed
