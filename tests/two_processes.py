"""Two processes on CPUs, for tests of what they do together."""

from __future__ import annotations

import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mmlandmark.testing import two_ranks
from mmlandmark.testing.two_ranks import ended, ranks_of, wait_until

__all__ = [
    "ROOT", "begin", "ended", "free_port", "need_two_processes", "ranks_of", "torchrun", "wait_until",
]  # fmt: skip
ROOT = Path(__file__).parents[1]
begin = partial(two_ranks.begin, paths=(ROOT / "tests",))


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
    variables = two_ranks.environment(ROOT / "tests")
    return subprocess.run(command, env=variables, cwd=cwd, capture_output=True, text=True, timeout=300)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
