"""A run in two processes on CPUs, which may be stopped or killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mmlandmark
from mmlandmark.engine.launching import children_of

SAID = "said"


def environment(*paths: str | Path) -> dict[str, str]:
    """Return the variables of a process that is to reach others on this machine, without a GPU.

    Args:
        paths: Folders to import from, beside that of this package.
    """
    folders = [Path(mmlandmark.__file__).parents[1], *paths]
    return dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(map(str, folders)),
        OMP_NUM_THREADS="1",
        CUDA_VISIBLE_DEVICES="",
        # The loopback device, so that no name of this machine has to be resolved.
        GLOO_SOCKET_IFNAME="lo",
    )


def begin(name: str, *arguments: object, cwd: Path, paths: Sequence[str | Path] = ()) -> subprocess.Popen:
    """Start a command in two processes without a GPU; what they write goes to a file ``said``.

    Args:
        name: Of the command.
        arguments: Of the command.
        cwd: Folder to start in, and of the file.
        paths: See :func:`environment`.
    """
    command = [sys.executable, "-m", "mmlandmark", "launch", "--processes", "2", name, *map(str, arguments)]
    with (cwd / SAID).open("w") as said:
        return subprocess.Popen(command, env=environment(*paths), cwd=cwd, stdout=said, stderr=said)


@contextmanager
def ended(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """End a process after the block, whatever happens in it."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ranks_of(process: subprocess.Popen) -> list[int]:
    """Return the ids of the processes of a run that :func:`begin` has started, by rank."""
    found = {}
    for child in children_of(process.pid):
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found[next(v for v in variables if v.startswith(b"RANK="))] = child
    return [found[rank] for rank in sorted(found)]


def wait_until(true: Callable[[], object], process: subprocess.Popen, seconds: float = 240) -> None:
    """Wait for something that a process that runs will do.

    Raises:
        RuntimeError: It has ended before, or it takes too long.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode} too soon")
        if time.monotonic() > deadline:
            raise RuntimeError(f"took more than {seconds:g} s")
        time.sleep(0.05)
