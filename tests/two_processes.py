"""Two processes on CPUs, started by torchrun, for tests of what they do together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

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
    environment = dict(
        os.environ,
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS="1",
        CUDA_VISIBLE_DEVICES="",
        # The loopback device, so that no name of this machine has to be resolved.
        GLOO_SOCKET_IFNAME="lo",
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    command = [*launch, str(ROOT / "tools" / name), *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
