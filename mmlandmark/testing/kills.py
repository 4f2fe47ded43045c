"""A training that is killed at some moment, and started again, ends like one that nobody has disturbed.

``python -m mmlandmark.testing.kills RECORD.json`` trains a small config of every method on phantoms. It ends
each by SIGKILL at 50 random moments: while half of a checkpoint, a file of labels or the note of a plan is
written, at the change of an epoch, in steps and predictions, and at any time of the clock. Then it gives the
same command again, and compares labels, weights and metrics with those of the undisturbed training. The exit
code is 1 if a command failed or a bit differs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.model import BaseModel
from mmengine.runner import EpochBasedTrainLoop

from mmlandmark.engine import latest_checkpoint
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.testing.forks import forked, without_threads
from mmlandmark.testing.kill_methods import METHODS, Method, quick
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.command_line import natural_number, positive_number
from mmlandmark.utils.files import atomic_write_json, read_json

# What a process counts until it kills itself.
CALLS: dict[str, tuple[Any, str]] = dict(
    write=(os, "replace"), epoch=(EpochBasedTrainLoop, "run_epoch"), train_step=(BaseModel, "train_step"),
    predict=(BaseDetector, "predict"),
)  # fmt: skip
CLOCK = "clock"
_TIME = re.compile(r"\d{8}_\d{6}")  # folders that have another name in the next run


@dataclass(frozen=True)
class Moment:
    """When a training is killed.

    Attributes:
        name: In words.
        call: Key of :data:`CALLS`: a ``write`` of a file, the begin of an ``epoch``, a step of the optimizer,
            or a predicted batch; or ``clock``.
        number: Which of these calls, counted from 1.
        file: End of the path of the files that count as a ``write``.
        whole: Kill after the file is there, instead of while half of it is written beside its place.
        seconds: After the start of a command, for ``clock``.
    """

    name: str
    call: str
    number: int = 1
    file: str = ""
    whole: bool = False
    seconds: float = 0.0


def arm(moment: Moment, stop: signal.Signals = signal.SIGKILL) -> None:
    """Let this process send itself a signal at a moment that is no matter of the clock."""
    owner, name = CALLS[moment.call]
    original, calls = getattr(owner, name), count(1)

    def counted(*args: Any, **kwargs: Any) -> Any:
        counts = moment.call != "write" or os.fspath(args[1]).endswith(moment.file)
        if counts and next(calls) == moment.number:
            if moment.whole:
                original(*args, **kwargs)
            elif moment.call == "write" and stop == signal.SIGKILL and os.path.isfile(args[0]):
                os.truncate(args[0], os.path.getsize(args[0]) // 2)
            os.kill(os.getpid(), stop)
            if moment.whole:
                return None
        return original(*args, **kwargs)

    setattr(owner, name, counted)


@contextmanager
def watched(folder: Path) -> Iterator[list[tuple[str, str]]]:
    """Collect the calls that could be a moment: name of the call, and end of the path of a written file."""
    seen: list[tuple[str, str]] = []

    def noting(call: str, original: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            path = os.path.relpath(args[1], folder) if call == "write" else ""
            if not path.startswith("..") and not _TIME.search(path):
                seen.append((call, path))
            return original(*args, **kwargs)

        return noted

    with ExitStack() as stack:
        for call, (owner, name) in CALLS.items():
            stack.enter_context(mock.patch.object(owner, name, noting(call, getattr(owner, name))))
        yield seen


def random_moments(seen: Sequence[tuple[str, str]], seconds: float, seed: int) -> Iterator[Moment]:
    """Yield moments without end, kind by kind, at random within a kind.

    Args:
        seen: See :func:`watched`.
        seconds: That the undisturbed training took.
        seed: Of the choice.
    """
    rng, kinds, numbers = random.Random(seed), dict[str, list[Moment]](), dict[tuple[str, str], int]()
    for call, path in seen:
        number = numbers[call, path] = numbers.get((call, path), 0) + 1
        if call != "write":
            words = dict(
                epoch="at the change of an epoch", train_step="in an epoch", predict="in a prediction"
            )
            kinds.setdefault(call, []).append(Moment(words[call], call, number))
            continue
        for whole in (False, True):
            when = "after" if whole else "while"
            verb = "has been" if whole else "is"
            kind = f"{when} {_kind_of_file(path)} {verb} written"
            kinds.setdefault(kind, []).append(Moment(kind, call, number, os.sep + path, whole))
    kinds[CLOCK] = []
    names = sorted(kinds)
    rng.shuffle(names)
    while True:
        for name in names:
            if name == CLOCK:
                yield Moment("at any time", CLOCK, seconds=round(rng.uniform(0, seconds), 3))
            else:
                yield rng.choice(kinds[name])


def _kind_of_file(path: str) -> str:
    name = Path(path)
    if name.suffix == ".pth":
        return "a checkpoint"
    if "pseudo_labels" in name.parts:
        return "a file of labels"
    if name.name in ("run.json", "plan.json", "config.py"):
        return "the note of a run or plan"
    return "another file"


def here(words: Sequence[str]) -> None:
    """Run ``mmlandmark <words>`` in this process; errors are raised."""
    # By its name, as on a command line: commands stand on the floor above.
    import_module("mmlandmark.cli").invoke(words[0], list(words[1:]))


def here_and_exit(words: Sequence[str]) -> None:
    """Run ``mmlandmark <words>`` in this process, which ends as that of the command does."""
    import_module("mmlandmark.cli").main(list(words))


def say_to(log: Path) -> None:
    """Let all that this process says go to the end of a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    # Whoever has replaced these, such as pytest, would get what is said.
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", closefd=False) for stream in (1, 2))


def filled(words: Sequence[str], folder: Path) -> list[str]:
    """Return the words of a command with the folder of a training in place of ``{out}``."""
    return [word.replace("{out}", str(folder)) for word in words]


def run_forked(
    words: Sequence[str],
    moment: Moment | None,
    log: Path | None = None,
    before: Callable[[], object] = lambda: None,
    stop: signal.Signals = signal.SIGKILL,
) -> int:
    """Run ``mmlandmark <words>`` in a fork of this process, which a moment kills; return its exit status.

    Args:
        words: Command and arguments.
        moment: When it is killed; None for never.
        log: File for what it says; by default it says it here.
        before: Called in the fork, first of all.
        stop: The signal that it gets at the moment.
    """

    def run() -> None:
        if log is not None:
            say_to(log)
        if moment is not None and moment.call != CLOCK:
            arm(moment, stop)
        before()
        here_and_exit(words)

    with without_threads():
        process = forked(run)
    if moment is not None and moment.call == CLOCK:
        process.join(moment.seconds)
        if process.is_alive():
            os.kill(process.pid or 0, stop)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def undisturbed(words: Sequence[str], folder: Path) -> Path:
    """Run a command in this process and return its folder; forks need not import everything again.

    Args:
        words: See :func:`filled`.
        folder: Of the training.
    """
    here(filled(words, folder))
    return folder


def disturbed(words: Sequence[str], folder: Path, moment: Moment, log: Path | None = None) -> Path:
    """Run a command that is killed at a moment, and then the same command again; return its folder.

    Args:
        words: See :func:`filled`.
        folder: Of the training.
        moment: When. One of the clock comes sooner if the command was over before.
        log: See :func:`run_forked`.

    Raises:
        RuntimeError: The moment did not come, or the second command failed.
    """
    command = filled(words, folder)
    while (status := run_forked(command, moment, log)) != -signal.SIGKILL:
        if status or moment.call != CLOCK:
            raise RuntimeError(f"{moment.name}: the command ended with {status} and was not killed")
        shutil.rmtree(folder)
        moment = Moment(**(asdict(moment) | dict(seconds=moment.seconds / 2)))
    if (status := run_forked(command, None, log)) != 0:
        raise RuntimeError(f"{moment.name}: started again, the command ended with {status}")
    return folder


def left_behind(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the ``labels`` (bytes), ``weights`` (tensors) and ``metrics`` that all runs left, by name."""
    found: dict[str, dict[str, Any]] = dict(labels={}, weights={}, metrics={})
    for path in sorted(folder.rglob("pseudo_labels/*.json")):
        found["labels"][path.relative_to(folder).as_posix()] = path.read_bytes()
    files = list(folder.rglob("*.mml.pth"))
    for run in sorted(note.parent for note in folder.rglob("last_checkpoint")):
        name, newest = run.relative_to(folder).as_posix(), latest_checkpoint(run)
        assert newest is not None, f"{run} holds no checkpoint"
        files.append(newest)
        note = read_json(run / "run.json") if (run / "run.json").is_file() else {}
        parts = dict(note.get("steps") or {}, training=note.get("metrics") or {})
        for part, metrics in parts.items():
            prefix = name if part == "training" else f"{name}/{part}"
            found["metrics"].update({f"{prefix}/{key}": value for key, value in metrics.items()})
    for path in sorted(files):
        name = path.relative_to(folder).as_posix()
        weights = load_checkpoint(path)["state_dict"]
        found["weights"].update({f"{name}/{key}": value for key, value in weights.items()})
    return found


def different(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Return the names of what differs in any bit, for each kind of :func:`left_behind`."""
    result = {}
    for kind, values in one.items():
        names = sorted(set(values) | set(other[kind]))
        result[kind] = [name for name in names if not _equal(values.get(name), other[kind].get(name))]
    return result


def _equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b


def kill(
    method: Method, root: Path, count: int, seed: int = 0, deadline: float = math.inf
) -> list[dict[str, Any]]:
    """Kill the training of a method at random moments; return a row for each.

    Args:
        method: What is trained.
        root: Empty folder.
        count: Of kills.
        seed: Of the moments.
        deadline: Reading of :func:`time.monotonic` after which no further one is begun; the first one is.

    Returns:
        Rows with ``moment``, and a ``fault``, which is None where nothing failed and no bit differs.

    Raises:
        OSError: This system cannot fork.
    """
    rows: list[dict[str, Any]] = []
    with quick(), method.held():
        (root / "site").mkdir(parents=True)
        words, whole = method.prepare(root / "site"), root / "whole"
        started = time.monotonic()
        with watched(whole) as seen:
            expected = left_behind(undisturbed(words, whole))
        moments = random_moments(seen, time.monotonic() - started, seed)
        while len(rows) < count and (not rows or time.monotonic() < deadline):
            moment, folder, log = next(moments), root / str(len(rows)), root / f"{len(rows)}.log"
            rows.append(dict(moment=asdict(moment), fault=_fault(words, folder, moment, log, expected)))
            shutil.rmtree(folder, ignore_errors=True)
    return rows


def _fault(words: Sequence[str], folder: Path, moment: Moment, log: Path, expected: Any) -> str | None:
    """Return what went wrong with one kill; None for nothing."""
    try:
        found = left_behind(disturbed(words, folder, moment, log))
    except RuntimeError as error:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{error}: {' / '.join(said[-5:])[-600:]}"
    wrong = [name for names in different(expected, found).values() for name in names]
    return f"{len(wrong)} differ: {wrong[:3]}" if wrong else None


def counted(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many kills there were and how many ended well, by kind of moment, and all faults.

    Args:
        rows: See :func:`kill`.
    """
    kinds: dict[str, dict[str, int]] = {}
    for row in rows:
        kind = kinds.setdefault(row["moment"]["name"], dict(tried=0, ok=0))
        kind["tried"] += 1
        kind["ok"] += row["fault"] is None
    faults = [row for row in rows if row["fault"] is not None]
    return dict(
        tried=len(rows), ok=len(rows) - len(faults), moments=dict(sorted(kinds.items())), faults=faults
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill every method, print the counts, and write the record; return 1 if there are faults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--kills", type=positive_number, default=50, help="of each method; default 50")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), metavar="METHOD", help="only these")
    parser.add_argument("--seed", type=natural_number, default=0, help="of the moments; default 0")
    args = parser.parse_args(arguments)
    made_by = dict(machine=machine(), versions=versions(), commit=git_commit())
    methods: dict[str, Any] = {}
    for name in args.methods or METHODS:
        with tempfile.TemporaryDirectory(prefix="mmlandmark_") as folder:
            rows = kill(METHODS[name], Path(folder), args.kills, args.seed)
        methods[name] = counted(rows)
        print(f"{name:<24} {methods[name]['ok']} of {methods[name]['tried']}", flush=True)
        for row in methods[name]["faults"]:
            print(json.dumps(row), flush=True)
        atomic_write_json(args.record, dict(made_by, kills=args.kills, seed=args.seed, methods=methods))
    return int(any(row["faults"] for row in methods.values()))


if __name__ == "__main__":
    sys.exit(main())
