"""Two processes on CPUs, for tests of what they do together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmlandmark.engine.launching import children_of

ROOT = Path(__file__).parents[1]


def need_two_processes() -> None:
    """Skip where processes cannot reach each other."""
    try:
        free_port()
    except OSError as error:
        pytest.skip(f"no local socket can be opened: {error}")
    if sys.platform != "linux":
        pytest.skip("the loopback device has another name on other systems")


def torchrun(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a tool in two processes without a GPU."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    command = [*launch, str(ROOT / "tools" / name), *map(str, arguments)]
    return subprocess.run(command, env=_environment(), cwd=cwd, capture_output=True, text=True, timeout=300)


def begin(name: str, *arguments: object, cwd: Path) -> subprocess.Popen:
    """Start a command in two processes without a GPU; what they write goes to a file ``said``."""
    command = [sys.executable, "-m", "mmlandmark", "launch", "--processes", "2", name, *map(str, arguments)]
    with (cwd / "said").open("w") as said:
        return subprocess.Popen(command, env=_environment(), cwd=cwd, stdout=said, stderr=said)


def _environment() -> dict[str, str]:
    return dict(
        os.environ,
        PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        OMP_NUM_THREADS="1",
        CUDA_VISIBLE_DEVICES="",
        # The loopback device, so that no name of this machine has to be resolved.
        GLOO_SOCKET_IFNAME="lo",
    )


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
    """Wait for something that a process that runs will do."""
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
