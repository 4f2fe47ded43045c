"""Damaged and malicious files of every format: each is read, or refused in one sentence that names it.

``python -m mmlandmark.testing.fuzz RECORD.json --seed 0 --count 10000`` changes small valid files at random:
flipped bits, missing and repeated parts, splices of two files, extreme numbers, other types, deep nesting.
Each is read by the function that users call, in a worker process with limited memory and time. The record
counts, for every format, what was read, what was refused, and faults: an error without the name of the file,
a crash, a hang, too much memory, or a wrong answer, where checksums or the cut of a known file decide it. The
exit code is 1 if there are faults.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.testing.forks import forked, limit_memory, without_threads
from mmlandmark.testing.fuzz_annotations import annotation_cases
from mmlandmark.testing.fuzz_case import Case, Input, Outcome, attempt, make_input
from mmlandmark.testing.fuzz_images import image_cases
from mmlandmark.testing.fuzz_models import model_cases
from mmlandmark.testing.fuzz_shards import shard_cases
from mmlandmark.utils.command_line import natural_number, positive_number
from mmlandmark.utils.files import atomic_write_json

SECONDS = 20.0  # of one input
MEMORY = 1 << 30  # bytes beyond those of a worker at its start


class Job(NamedTuple):
    """An input by its case and its number among those of the case."""

    case: int
    number: int


@dataclass(frozen=True)
class Limits:
    """What one input may take.

    Attributes:
        seconds: On the clock.
        memory: Bytes of address space.
    """

    seconds: float = SECONDS
    memory: int = MEMORY


class Plan:
    """The cases, their valid files, and what these read as.

    Args:
        cases: Their folders lie below ``root``.
        root: Folder of all cases.
        seed: Of all inputs.
    """

    def __init__(self, cases: Sequence[Case], root: Path, seed: int) -> None:
        self.cases, self.root, self.seed = list(cases), root, seed
        self.contents = [(case.place(root) / case.target).read_bytes() for case in cases]
        self.known: dict[str, set[Hashable]] = defaultdict(set)
        for case in cases:
            self.known[case.format].add(case.read(case.place(root)))  # raises if it is not valid

    def jobs(self, count: int) -> list[Job]:
        """Return so many inputs, the cases in turn."""
        numbers = (Job(case, n) for n in itertools.count() for case in range(len(self.cases)))
        return list(itertools.islice(numbers, count))

    def input(self, job: Job) -> Input:
        """Return a changed file."""
        others = [
            content
            for case, content in zip(self.cases, self.contents, strict=True)
            if case.format == self.cases[job.case].format
        ] + [self.contents[job.number % len(self.contents)]]
        return make_input(self.cases[job.case], self.contents[job.case], self.seed, job.number, others)

    def attempt(self, job: Job, root: Path) -> Outcome:
        """Read an input in a copy of the folder of all cases."""
        case = self.cases[job.case]
        return attempt(case, root, self.input(job), self.known[case.format])


def run(plan: Plan, count: int, workers: int = 1, limits: Limits | None = None) -> dict[Job, Outcome]:
    """Read inputs in worker processes; return how each ended.

    A worker that takes too long or dies is replaced; its input counts as a fault.

    Args:
        plan: The cases.
        count: Number of inputs.
        workers: Processes.
        limits: What one input may take.

    Raises:
        OSError: This system cannot fork.
    """
    limits = Limits() if limits is None else limits
    jobs, outcomes = plan.jobs(count), dict[Job, Outcome]()
    shares = [iter(jobs[number::workers]) for number in range(workers)]
    with without_threads():
        active = {worker.connection: worker for worker in (_Worker(plan, share, limits) for share in shares)}
        while active:
            ready = wait(list(active), timeout=0.5)
            for connection in list(active):
                worker = active[connection]
                outcomes.update(worker.collect(connection in ready))
                if not worker.is_over:
                    continue
                del active[connection]
                worker.end()
                if not worker.is_done:
                    other = _Worker(plan, worker.share, limits)
                    active[other.connection] = other
    return outcomes


class _Worker:
    """A process that reads its share of the inputs, and what is known of it here."""

    def __init__(self, plan: Plan, share: Iterator[Job], limits: Limits) -> None:
        self.share, self.limits, self.current, self.is_done, self.is_over = share, limits, None, False, False
        self._job: Job | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="mmlandmark_"))
        shutil.copytree(plan.root, self._folder / "cases")
        self.connection, child = multiprocessing.Pipe()
        self._process = forked(_work, child, plan, self._folder / "cases", limits.memory)
        child.close()
        self._send()

    def _send(self) -> None:
        self._job, self._since = next(self.share, None), time.monotonic()
        self.connection.send(self._job)
        self.is_done = self.is_over = self._job is None

    def collect(self, ready: bool) -> dict[Job, Outcome]:
        """Return the outcome of the current input, if there is one, and send the next one."""
        job = self._job
        if job is None:
            return {}
        if ready:
            try:
                outcome = self.connection.recv()
            except (EOFError, ConnectionResetError):
                self._process.join()
                self.is_over = True
                return {job: Outcome("crash", f"the process ended with {self._process.exitcode}")}
            self._send()
            return {job: outcome}
        if time.monotonic() - self._since > self.limits.seconds:
            self.is_over = True
            return {job: Outcome("hang", f"more than {self.limits.seconds:g} s")}
        return {}

    def end(self) -> None:
        """End the process and remove its folder."""
        self.connection.close()
        if not self.is_done:
            self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder)


def _work(connection: Connection, plan: Plan, root: Path, memory: int) -> None:
    """Read inputs until there are no more."""
    limit_memory(memory)
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libraries print what they think of a file
        os.dup2(silence, stream)
    while (job := connection.recv()) is not None:
        connection.send(plan.attempt(job, root))


def counts(plan: Plan, outcomes: dict[Job, Outcome]) -> dict[str, dict[str, int]]:
    """Return how many inputs of every format were tried, read, refused and faults."""
    rows: dict[str, Counter[str]] = {}
    for job, outcome in sorted(outcomes.items()):
        row = rows.setdefault(plan.cases[job.case].format, Counter(tried=0, read=0, refused=0, faults=0))
        row.update(tried=1, **{"faults" if outcome.is_fault else outcome.end: 1})
    return {kind: dict(row) for kind, row in rows.items()}


def faults(plan: Plan, outcomes: dict[Job, Outcome], keep: Path | None = None) -> list[dict[str, Any]]:
    """Return what is needed to repeat every fault.

    Args:
        plan: The cases.
        outcomes: Of all inputs.
        keep: Folder for the files at fault; None writes none.
    """
    rows = []
    for job, outcome in sorted(outcomes.items()):
        if not outcome.is_fault:
            continue
        case, given = plan.cases[job.case], plan.input(job)
        row = dict(format=case.format, case=case.name, file=case.target, seed=plan.seed, number=job.number)
        rows.append(row | dict(changes=list(given.changes), fault=outcome.end, message=outcome.message[:600]))
        if keep is not None:
            path = keep / f"{case.name}_{job.number}" / Path(case.target).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(given.data)
    return rows


def all_cases(root: Path) -> list[Case]:
    """Write the valid files of all formats below ``root``; return their cases."""
    return [*image_cases(root), *annotation_cases(root), *model_cases(root), *shard_cases(root)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read many inputs, print the counts, and write the record; return 1 if there are faults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--seed", type=natural_number, default=0, help="of all inputs; default 0")
    parser.add_argument("--count", type=positive_number, default=10000, help="inputs; default 10000")
    parser.add_argument("--workers", type=positive_number, default=1, help="processes; default 1")
    parser.add_argument("--formats", nargs="+", metavar="FORMAT", help="only these")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the files at fault there")
    args = parser.parse_args(arguments)
    made_by = dict(machine=machine(), versions=versions(), commit=git_commit())
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as folder:
        cases = all_cases(Path(folder))
        known = {case.format for case in cases}
        if not known >= set(args.formats or ()):
            parser.error(f"formats are {', '.join(sorted(known))}")
        plan = Plan(
            [case for case in cases if case.format in (args.formats or known)], Path(folder), args.seed
        )
        start = time.monotonic()
        outcomes = run(plan, args.count, args.workers)
        seconds = time.monotonic() - start
        rows, wrong = counts(plan, outcomes), faults(plan, outcomes, args.keep)
    for kind, row in rows.items():
        print(f"{kind:<16}" + "  ".join(f"{value:>6} {name}" for name, value in row.items()))
    for fault in wrong:
        print(json.dumps(fault))
    limits = dict(seconds=SECONDS, memory=MEMORY)
    how = dict(
        seed=args.seed, count=args.count, workers=args.workers, limits=limits, seconds=round(seconds, 1)
    )
    atomic_write_json(args.record, dict(made_by, **how, formats=rows, faults=wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
