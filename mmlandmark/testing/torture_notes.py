"""Damage to the files in JSON that trainings go on from, as a part of :mod:`.torture`."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.testing.kill_methods import METHODS, quick
from mmlandmark.testing.kills import Moment, filled, left_behind, run_forked, undisturbed, watched
from mmlandmark.testing.mutations import mutate
from mmlandmark.testing.torture_parts import Try, said_in, same
from mmlandmark.utils.json_checksum import KEY, MARK

_NOTED = ("self-training", "cross-validation", "model per landmark")  # have all kinds of notes together


def damaged_notes(given: Try) -> None:
    """Damage a file in JSON that trainings go on from, and give the same command again."""
    rng = np.random.default_rng(given.seed)
    with quick():
        sites: list[_Noted] = []
        while given.goes_on:
            number = len(given.rows)
            if number < len(_NOTED):
                sites.append(_noted(_NOTED[number], given.root / str(number), given.seed))
            given.note(*_with_damaged_note(sites[number % len(sites)], given.root / "damaged", rng))
            shutil.rmtree(given.root / "damaged")


@dataclass
class _Noted:
    """The words of a command, folders that it has left, one of them killed, and what it should leave."""

    words: list[str]
    folders: tuple[Path, Path]
    expected: dict[str, dict[str, Any]]


def _noted(method: str, root: Path, seed: int) -> _Noted:
    """Train a method undisturbed, and again until it is killed at the begin of an epoch."""
    (root / "site").mkdir(parents=True)
    words, whole, begun = METHODS[method].prepare(root / "site"), root / "whole", root / "begun"
    with watched(whole) as seen:
        expected = left_behind(undisturbed(words, whole))
    epoch = random.Random(seed).randint(2, sum(call == "epoch" for call, _ in seen))
    status = run_forked(filled(words, begun), Moment("in an epoch", "epoch", epoch), root / "killed.log")
    if status != -signal.SIGKILL:
        raise RuntimeError(f"{method} ended with {status} and was not killed: {said_in(root / 'killed.log')}")
    return _Noted(words, (begun, whole), expected)


def _with_damaged_note(site: _Noted, folder: Path, rng: np.random.Generator) -> tuple[str, str | None]:
    """Go on with a damaged file; return what was done, and the fault.

    The command may refuse the file by its name: it then goes on with that from a copy. If it does not read
    the file, which is put back for the comparison, the result is that of an undisturbed training.
    """
    shutil.copytree(site.folders[rng.integers(2)], folder)
    files = sorted(path for path in folder.rglob("*.json") if f'"{KEY}": "{MARK}' in path.read_text())
    path, log = files[rng.integers(len(files))], folder.with_suffix(".log")
    whole, others = path.read_bytes(), [other.read_bytes() for other in files]
    damaged, changes = mutate(whole, rng, others=others)
    path.write_bytes(damaged)
    what = f"{path.relative_to(folder)}: {', '.join(changes)}"
    log.unlink(missing_ok=True)
    status = run_forked(filled(site.words, folder), None, log)
    if status == 1 and damaged != whole:
        said = log.read_text(encoding="utf-8", errors="replace")
        if "Traceback" in said or path.name not in said:
            return what, f"it was not refused by its name: {said_in(log)}"
        path.write_bytes(whole)
        status = run_forked(filled(site.words, folder), None, log)
    elif path.is_file() and path.read_bytes() == damaged:
        path.write_bytes(whole)
    return what, same(site.expected, status, log, folder)


# Name -> what is done, and its share of the time.
NOTE_PARTS: dict[str, tuple[Callable[[Try], None], float]] = {"damaged notes": (damaged_notes, 3)}
