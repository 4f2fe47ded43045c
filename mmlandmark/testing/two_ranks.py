"""A run in two processes on CPUs, which may be stopped or killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import mmlandmark
from mmlandmark.engine.launching import children_of
from mmlandmark.testing.forks import forked, without_threads
from mmlandmark.testing.kills import here_and_exit, say_to

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
    return _begin(["--processes", "2", name, *map(str, arguments)], cwd, SAID, paths)


def begin_nodes(name: str, *arguments: object, cwd: Path) -> list[subprocess.Popen]:
    """Start a command on two nodes of one process each, which share the loopback device; return their agents.

    What they write goes to the files ``said0`` and ``said1``.

    Args:
        name: Of the command.
        arguments: Of the command.
        cwd: Folder to start in, and of the files.
    """
    words = ["--processes", "1", "--nodes", "2", "--master", f"127.0.0.1:{free_port()}", "--node-rank"]
    given = [name, *map(str, arguments)]
    return [_begin([*words, str(node), *given], cwd, f"{SAID}{node}") for node in (0, 1)]


def _begin(words: Sequence[str], cwd: Path, said: str, paths: Sequence[str | Path] = ()) -> subprocess.Popen:
    command = [sys.executable, "-m", "mmlandmark", "launch", *words]
    with (cwd / said).open("w") as file:
        return subprocess.Popen(command, env=environment(*paths), cwd=cwd, stdout=file, stderr=file)


def fork_ranks(words: Sequence[str], said: Path) -> list[BaseProcess]:
    """Start a command in two forks of this process, which are the ranks of one run without an agent.

    Forks need not import anything.

    Args:
        words: The command and its arguments; its config has ``launcher="pytorch"``.
        said: File for what they write.

    Raises:
        OSError: This system cannot fork.
    """
    port = free_port()

    def run(rank: int) -> None:
        say_to(said)
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2", WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1",
            CUDA_VISIBLE_DEVICES="",
        )  # fmt: skip
        here_and_exit(words)

    with without_threads():
        return [forked(run, rank) for rank in (0, 1)]


def free_port() -> int:
    """Return the number of a port of the loopback device that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
