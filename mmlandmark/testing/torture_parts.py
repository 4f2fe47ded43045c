"""What :mod:`.torture` does to trainings and files; each part returns a row for everything that it tried."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmlandmark.engine import latest_checkpoint
from mmlandmark.testing import two_ranks
from mmlandmark.testing.attacks import Ended, attack
from mmlandmark.testing.file_places import make_site, places
from mmlandmark.testing.full_disks import limit_files, resize_disk, size_below, small_disk
from mmlandmark.testing.fuzz import Plan, all_cases, faults, run
from mmlandmark.testing.kill_methods import METHODS, quick, training
from mmlandmark.testing.kills import (
    Moment,
    different,
    filled,
    kill,
    left_behind,
    run_forked,
    undisturbed,
)
from mmlandmark.testing.long_run import ALLOWED, growth, watch_training
from mmlandmark.testing.malicious_files import KINDS
from mmlandmark.testing.mutations import mutate
from mmlandmark.testing.tiny import phantom_dataloader, tiny_config

_BATCH = 100  # changed files between two looks at the clock
_EPOCHS = 3  # of the training whose checkpoints are damaged, and whose disk is full
_LONG = (30, 500)  # epochs of a long run
# What a run of fewer epochs than the latter can tell: memory and files of logs go up and down.
_COUNTED = ("file_descriptors", "worker_file_descriptors", "threads", "processes", "shared_files_mib")
_SILENCE = 4.0  # seconds after which a process counts as stopped
_MINUTE = 60.0  # in which a run must then be over

Row = dict[str, Any]


@dataclass
class Try:
    """Where and how long a part works.

    Attributes:
        root: Empty folder.
        deadline: Reading of :func:`time.monotonic` after which nothing further is begun.
        seed: Of everything random.
        rows: Dicts of ``what`` was tried, and the ``fault``, None for none.
    """

    root: Path
    deadline: float
    seed: int
    rows: list[Row] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        """Whether something further is begun: the first is, and others until the deadline."""
        return not self.rows or time.monotonic() < self.deadline

    def note(self, what: str, fault: str | None) -> None:
        """Add a row."""
        self.rows.append(dict(what=what, fault=fault))


def kills_of(name: str) -> Callable[[Try], None]:
    """Return the part that kills a method."""

    def part(given: Try) -> None:
        for row in kill(METHODS[name], given.root / "kills", 10**6, given.seed, given.deadline):
            given.note(str(row["moment"]), row["fault"])

    return part


def damaged_files(given: Try) -> None:
    """Read changed files of all formats."""
    plan = Plan(all_cases(given.root), given.root, given.seed)
    while given.goes_on:
        outcomes = run(plan, _BATCH)
        wrong = {(row["case"], row["number"]): row for row in faults(plan, outcomes)}
        for job in outcomes:
            row = wrong.get((plan.cases[job.case].name, job.number))
            what = f"{plan.cases[job.case].name}, seed {plan.seed}, number {job.number}"
            given.note(what, None if row is None else f"{row['fault']}: {row['message']}")
        plan.seed += 1


def malicious_files(given: Try) -> None:
    """Give malicious files to commands."""
    (given.root / "site").mkdir()
    site = make_site(given.root / "site")
    chosen = [(place, kind) for place in places() for kind in KINDS]
    random.Random(given.seed).shuffle(chosen)
    while chosen and given.goes_on:
        for row in attack([chosen.pop() for _ in range(min(10, len(chosen)))], site, given.root):
            fault = f"{row['end']}: {row['message']}" if Ended(row["end"]).is_fault else None
            given.note(f"{row['kind']} as {row['name']} of {row['command']}", fault)


def _supervised(root: Path) -> tuple[list[str], Path]:
    """Train a config that has nothing to it; return the words of its command, and what it leaves."""
    tiny_config("unused", max_epochs=_EPOCHS).dump(root / "config.py")
    words = training(root / "config.py")
    return words, undisturbed(words, root / "whole")


def same(expected: dict[str, dict[str, Any]], status: int, log: Path, folder: Path) -> str | None:
    """Return what is wrong with a training that was started again; None for nothing."""
    if status:
        return f"it ended with {status}: {said_in(log)}"
    wrong = [name for names in different(expected, left_behind(folder)).values() for name in names]
    return f"{len(wrong)} differ: {wrong[:3]}" if wrong else None


def said_in(log: Path) -> str:
    """Return the end of what a command has said."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    return " / ".join(lines[-4:])[-500:]


def damaged_checkpoints(given: Try) -> None:
    """Change bits of the newest checkpoint of a killed training, or cut it, and resume."""
    with quick():
        words, whole = _supervised(given.root)
        expected = left_behind(whole)
        begun, rng = given.root / "begun", np.random.default_rng(given.seed)
        log = given.root / "damaged.log"
        status = run_forked(filled(words, begun), Moment("in the last epoch", "epoch", _EPOCHS), log)
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the training ended with {status} and was not killed: {said_in(log)}")
        while given.goes_on:
            folder = given.root / "damaged"
            shutil.copytree(begun, folder)
            path = latest_checkpoint(folder)
            assert path is not None
            data, changes = mutate(path.read_bytes(), rng)
            path.write_bytes(data)
            status = run_forked(filled(words, folder), None, log)
            given.note(f"{path.name}: {', '.join(changes)}", same(expected, status, log, folder))
            shutil.rmtree(folder)
            log.unlink(missing_ok=True)


def full_disks(given: Try) -> None:
    """Train where there is too little room, and again where there is enough."""
    with quick():
        words, whole = _supervised(given.root)
        expected, size = left_behind(whole), size_below(whole) // 2**10
        rng = random.Random(given.seed)
        while given.goes_on:
            room, log = rng.randrange(8, size), given.root / "full.log"
            try:
                fault = _on_disk(words, expected, given.root, room, log)
                what = f"{room} KiB on the disk"
            except OSError:  # nothing may be mounted here
                room = rng.randrange(8, size // 4)
                fault = _with_limit(words, expected, given.root / "limited", room, log)
                what = f"{room} KiB in a file"
            given.note(what, fault)
            log.unlink(missing_ok=True)


def _on_disk(words: Sequence[str], expected: Any, root: Path, room: int, log: Path) -> str | None:
    shutil.rmtree(root / "disk", ignore_errors=True)
    with small_disk(root, room) as disk:
        status = run_forked(filled(words, disk / "run"), None, log)
        fault = _refusal(status, log)
        resize_disk(disk, 2**17)
        if fault is None:
            status = run_forked(filled(words, disk / "run"), None, log)
            fault = same(expected, status, log, disk / "run")
    return fault


def _with_limit(words: Sequence[str], expected: Any, folder: Path, room: int, log: Path) -> str | None:
    fault = _refusal(run_forked(filled(words, folder), None, log, lambda: limit_files(room)), log)
    if fault is None:
        fault = same(expected, run_forked(filled(words, folder), None, log), log, folder)
    shutil.rmtree(folder, ignore_errors=True)
    return fault


def _refusal(status: int, log: Path) -> str | None:
    """Return what is wrong with how a training without room ended; None for nothing."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    if "Traceback" in text:
        return f"a traceback: {said_in(log)}"
    if status not in (0, 1):
        return f"it ended with {status}: {said_in(log)}"
    return None if status == 0 or "cannot be written" in text else f"no word of the disk: {said_in(log)}"


def in_two(work_dir: Path) -> Config:
    """Return the config of a run in two processes that takes some seconds."""
    config = tiny_config(
        work_dir,
        max_epochs=16,
        launcher="pytorch",
        train_dataloader=phantom_dataloader(size=(32, 32)),
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
    )
    config.env_cfg.rank_silence = _SILENCE
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    return config


def lost_ranks(given: Try) -> None:
    """Kill or stop one of two processes of a run: it ends within a minute, and the same command goes on.

    The agent of torchrun names one that is killed, the other process one that is stopped. Most are forks
    without an agent, which import nothing, so that there is time for many.
    """
    rng = random.Random(given.seed)
    with quick():
        expected = left_behind(trained_in_two(given.root / "whole"))
        for folder in folders_of_two(given):
            rank, number = rng.randrange(2), len(given.rows)
            stop = (signal.SIGKILL, signal.SIGSTOP)[number % 2]
            if number % 4 == 0:
                what, fault = f"SIGKILL of rank {rank} of an agent", _killed(folder, rank)
            else:
                what, fault = f"{stop.name} of rank {rank}", _lost(folder, rank, stop)
            given.note(what, fault or gone_on(folder, expected))


def folders_of_two(given: Try) -> Iterator[Path]:
    """Yield folders with the config of :func:`in_two`, as long as the part goes on; each is then removed."""
    while given.goes_on:
        folder = given.root / str(len(given.rows))
        folder.mkdir()
        in_two(folder / "run").dump(folder / "config.py")
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def trained_in_two(root: Path) -> Path:
    """Train :func:`in_two` undisturbed in a new folder, in forks; return the work folder.

    Raises:
        RuntimeError: It failed.
    """
    root.mkdir()
    in_two(root / "run").dump(root / "config.py")
    fault = gone_on(root, None)
    if fault is not None:
        raise RuntimeError(f"two processes cannot train: {fault}")
    return root / "run"


def gone_on(folder: Path, expected: Any) -> str | None:
    """Give the command of a run in two processes again; return what is wrong, None for nothing.

    Args:
        folder: Of its config and work folder.
        expected: What an undisturbed run leaves; None compares nothing.
    """
    said = folder / two_ranks.SAID
    ranks = two_ranks.fork_ranks(_words(folder), said)
    for rank in ranks:
        rank.join()
    status = next((rank.exitcode for rank in ranks if rank.exitcode), 0) or 0
    if expected is None:
        return f"it ended with {status}: {said_in(said)}" if status else None
    return same(expected, status, said, folder / "run")


def _words(folder: Path) -> list[str]:
    return ["train", str(folder / "config.py"), "--resume"]


def _killed(folder: Path, rank: int) -> str | None:
    """Kill a process that torchrun has started; return what is wrong, None for nothing."""
    name, *words = _words(folder)
    with two_ranks.ended(two_ranks.begin(name, *words, cwd=folder)) as process:
        two_ranks.wait_until(lambda: latest_checkpoint(folder / "run") is not None, process)
        pid = two_ranks.ranks_of(process)[rank]
        os.kill(pid, signal.SIGKILL)
        try:
            status = process.wait(timeout=_MINUTE)
        except subprocess.TimeoutExpired:
            return f"it was not over after a minute: {said_in(folder / two_ranks.SAID)}"
    return _named(folder, status, f"process {rank} (number {rank} of this machine, pid {pid})")


def _lost(folder: Path, rank: int, stop: signal.Signals) -> str | None:
    """Kill or stop one of two processes without an agent; return what is wrong, None for nothing."""
    ranks = two_ranks.fork_ranks(_words(folder), folder / two_ranks.SAID)
    try:
        while latest_checkpoint(folder / "run") is None:
            if not all(process.is_alive() for process in ranks):
                return f"it ended before its first checkpoint: {said_in(folder / two_ranks.SAID)}"
            time.sleep(0.02)
        pid = ranks[rank].pid or 0
        os.kill(pid, stop)
        end = time.monotonic() + _MINUTE
        for process in ranks:
            process.join(max(0.0, end - time.monotonic()))
        if any(process.is_alive() for process in ranks):
            return f"it was not over after a minute: {said_in(folder / two_ranks.SAID)}"
    finally:
        for process in ranks:
            process.kill()
            process.join()
    # Of one that is killed the other hears by its connection, which has no name.
    name = f"rank {rank} of the run, process {pid} on " if stop == signal.SIGSTOP else ""
    return _named(folder, ranks[1 - rank].exitcode or 0, name)


def _named(folder: Path, status: int, name: str) -> str | None:
    """Return what is wrong with how a run ended that has lost a process; None for nothing."""
    text = (folder / two_ranks.SAID).read_text(encoding="utf-8", errors="replace")
    if status == 0:
        return "it ended as if nothing were lost"
    return None if name in text else f"no word of {name}: {said_in(folder / two_ranks.SAID)}"


def long_runs(given: Try) -> None:
    """Look whether a long training grows."""
    began = time.monotonic()
    watch_training(given.root / "short", 8)
    each = (time.monotonic() - began) / 8
    epochs = int(max(_LONG[0], min(_LONG[1], (given.deadline - time.monotonic()) / each)))
    grown = growth(watch_training(given.root / "long", epochs))
    for key in ALLOWED if epochs >= _LONG[1] else _COUNTED:
        fault = f"{grown[key]:+.2f} in 1000 epochs" if grown[key] > ALLOWED[key] else None
        given.note(f"{key} in {epochs} epochs", fault)


# Name -> what is done, and its share of the time.
PARTS: dict[str, tuple[Callable[[Try], None], float]] = {
    **{f"kill -9: {name}": (kills_of(name), 10 / len(METHODS)) for name in METHODS},
    "changed files": (damaged_files, 3),
    "malicious files": (malicious_files, 4),
    "damaged checkpoints": (damaged_checkpoints, 3),
    "full disks": (full_disks, 3),
    "killed and stopped processes": (lost_ranks, 6),
    "long run": (long_runs, 2),
}
