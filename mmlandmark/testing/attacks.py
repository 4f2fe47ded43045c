"""Files that would run code, in every place where a command takes a file or a config names one.

``python -m mmlandmark.testing.attacks RECORD.json`` gives pickles, arrays of objects, YAML with tags of
Python, JSON that names functions, and packed files of gigabytes to every argument of every command, to the
keys of a config that name files, and to the arguments of data sets. What is run leaves a trace. The record
counts how the calls ended; the exit code is 1 if one left a trace, had no end, or ended in a crash or
traceback.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pkgutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import mmlandmark
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.testing.file_places import Place, make_site, places
from mmlandmark.testing.forks import forked, limit_memory, without_threads
from mmlandmark.testing.malicious_files import KINDS
from mmlandmark.utils.files import atomic_write_json

SECONDS = 30  # of one call; all that the valid files make takes less
MEMORY = 4 << 30  # bytes beyond those of the process at its start
# What mmlandmark.utils.command_line.run_and_exit turns into one line.
_TOLD = (OSError, ValueError, KeyError, TypeError, FloatingPointError, ImportError, SystemExit)


class _TooLong(BaseException):
    """A call was not over in time."""


class Ended(NamedTuple):
    """How a call ended.

    Attributes:
        end: ``refused`` or ``done``; or ``trace``, ``crash``, ``traceback`` or ``hang``.
        message: Of the error.
    """

    end: str
    message: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether something happened that a file must not do."""
        return self.end not in ("refused", "done")


def call(place: Place, kind: str, site: dict[str, str], folder: Path) -> Ended:
    """Give a malicious file to a command in a fork of this process.

    Args:
        place: Where.
        kind: Key of :data:`~mmlandmark.testing.malicious_files.KINDS`.
        site: Valid files, see :func:`~mmlandmark.testing.file_places.make_site`.
        folder: Empty folder for the file, the trace and results.

    Raises:
        OSError: This system cannot fork.
    """
    file, trace = folder / kind, folder / "trace"
    KINDS[kind](file, trace)
    names = {**site, "file": str(file), "out": str(folder / "out")}
    words = [_filled(word, names) for word in place.words]
    here, there = multiprocessing.Pipe()
    process = forked(_run, there, place.command, words, folder)
    there.close()
    ended = Ended("hang")
    try:
        if here.poll(2 * SECONDS):
            ended = here.recv()
    except EOFError:
        process.join()
        ended = Ended("crash", f"the process ended with {process.exitcode}")
    process.kill()
    process.join()
    return Ended("trace", ended.message) if trace.exists() else ended


def _filled(word: str, names: dict[str, str]) -> str:
    for name, value in names.items():  # no str.format: options hold dicts
        word = word.replace(f"{{{name}}}", value)
    return word


def _run(connection: Connection, command: str, words: list[str], folder: Path) -> None:
    """Run a command in this process, which is a fork, and send how it ended."""

    def stop(*_: Any) -> None:
        raise _TooLong

    os.chdir(folder)
    limit_memory(MEMORY)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        import_module("mmlandmark.cli.entry").invoke(command, words)
        ended = Ended("done")
    except _TooLong:
        ended = Ended("hang")
    except _TOLD as error:
        ended = Ended("refused", f"{type(error).__name__}: {error}")
    except BaseException as error:
        known = hasattr(error, "exit_code")
        ended = Ended("refused" if known else "traceback", f"{type(error).__name__}: {error}")
    signal.alarm(0)
    connection.send(ended)
    connection.close()
    os._exit(0)  # nothing of the parent is to be cleaned up


def attack(chosen: Sequence[tuple[Place, str]], site: dict[str, str], root: Path) -> list[dict[str, Any]]:
    """Give malicious files to places; return a row for each.

    Args:
        chosen: Places and kinds of files.
        site: Valid files.
        root: Folder for all of them.
    """
    rows = []
    for module in pkgutil.walk_packages(mmlandmark.__path__, "mmlandmark."):
        if not module.name.endswith("__main__"):
            import_module(module.name)  # here, so that no fork has to
    for place, kind in chosen:
        with tempfile.TemporaryDirectory(dir=root) as name, without_threads():
            ended = call(place, kind, site, Path(name))
            message = ended.message.replace(name, "")[:300]
        rows.append(dict(command=place.command, name=place.name, kind=kind, end=ended.end, message=message))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Give every kind of file to every place, print the counts, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--commands", nargs="+", metavar="COMMAND", help="only these")
    args = parser.parse_args(arguments)
    made_by = dict(machine=machine(), versions=versions(), commit=git_commit())
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as name:
        site = make_site(Path(name))
        chosen = [
            (place, kind)
            for place in places()
            for kind in KINDS
            if place.command in (args.commands or [place.command])
        ]
        rows = attack(chosen, site, Path(name))
    counts = {
        command: dict(Counter(row["end"] for row in rows if row["command"] == command))
        for command in dict.fromkeys(row["command"] for row in rows)
    }
    faults = [row for row in rows if Ended(row["end"]).is_fault]
    for command, ends in counts.items():
        print(f"{command:<20} {ends}")
    for row in faults:
        print(json.dumps(row))
    atomic_write_json(args.record, dict(made_by, calls=len(rows), commands=counts, faults=faults))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
