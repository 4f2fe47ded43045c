"""Two processes on CPUs, for tests of what they do together."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed

from mmlandmark.testing import two_ranks
from mmlandmark.testing.forks import forked, without_threads
from mmlandmark.testing.two_ranks import ended, free_port, ranks_of, wait_until
from mmlandmark.utils.checkpoint import load_checkpoint

__all__ = [
    "ROOT", "begin", "dist_train", "ended", "free_port", "in_two", "need_nodes", "need_two_processes",
    "nodes_by_namespaces", "on_two_nodes", "ranks_of", "same_weights", "torchrun", "wait_until",
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


def in_two(function: Callable[..., Any], *arguments: Any, seconds: float = 300) -> list[Any]:
    """Call a function in two forks of this process, which are the ranks of one group, without a GPU.

    Forks need not import anything.

    Args:
        function: What to call in either.
        arguments: Its arguments.
        seconds: Time that it may take.

    Returns:
        What it returned, by rank.
    """
    need_two_processes()
    port = free_port()

    def call(rank: int) -> None:
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2", WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
            GLOO_SOCKET_IFNAME="lo", CUDA_VISIBLE_DEVICES="",
        )  # fmt: skip
        torch.distributed.init_process_group("gloo")
        Path(folder, str(rank)).write_bytes(pickle.dumps(function(*arguments)))
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()

    with tempfile.TemporaryDirectory() as folder:
        with without_threads():
            ranks = [forked(call, rank) for rank in (0, 1)]
            end = time.monotonic() + seconds
            while any(p.is_alive() for p in ranks) and not any(p.exitcode for p in ranks):
                if time.monotonic() > end:
                    break
                time.sleep(0.02)
        for process in ranks:
            process.join(2)
            process.kill()
            process.join()
        assert [process.exitcode for process in ranks] == [0, 0]
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in (0, 1)]


def torchrun(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a tool in two processes without a GPU."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    return _run([*launch, str(ROOT / "tools" / name), *map(str, arguments)], cwd)


def dist_train(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run ``tools/dist_train.sh`` without a GPU."""
    return _run([str(ROOT / "tools" / "dist_train.sh"), *map(str, arguments)], cwd)


def _run(command: list[str], cwd: Path) -> subprocess.CompletedProcess:
    environment = dict(two_ranks.environment(ROOT / "tests"), PYTHON=sys.executable)
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=600)


# Two namespaces with a network card each, joined by a cable. Nothing else reaches these addresses.
_TWO_NODES = """
set -e
ip link set lo up
unshare --net sleep 600 &
other=$!
trap 'kill $other' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.02; done
there="nsenter --target $other --net"
ip link add name node0 type veth peer name node1 netns $other
ip address add 10.77.0.1/24 dev node0
ip link set node0 up
$there ip link set lo up
$there ip address add 10.77.0.2/24 dev node1
$there ip link set node1 up
export GLOO_SOCKET_IFNAME
GLOO_SOCKET_IFNAME=node1 $there "$PYTHON" -m mmlandmark launch --processes 1 --nodes 2 --node-rank 1 \
    --master 10.77.0.1:29500 "$@" &
second=$!
GLOO_SOCKET_IFNAME=node0 "$PYTHON" -m mmlandmark launch --processes 1 --nodes 2 --node-rank 0 \
    --master 10.77.0.1:29500 "$@"
wait $second
"""


def same_weights(one: Path, other: Path) -> None:
    """Fail unless two checkpoints hold the same weights and buffers, bit by bit."""
    first, second = (load_checkpoint(path)["state_dict"] for path in (one, other))
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


# Two nodes have addresses of their own where the system allows it; else the second test runs.
nodes_by_namespaces = pytest.mark.parametrize(
    "namespaces", [True, False], ids=["addresses_of_their_own", "one_loopback_device"]
)


def need_nodes(namespaces: bool) -> None:
    """Skip one of the two ways in which a machine can be two nodes, and say why."""
    need_two_processes()
    why = _namespaces_lack()
    if namespaces and why:
        pytest.skip(f"two nodes have no networks of their own here, only the loopback device: {why}")
    if not namespaces and not why:
        pytest.skip("two nodes have networks of their own here, which says more than the loopback device")


@cache
def _namespaces_lack() -> str:
    """Return why two nodes cannot have networks of their own here; empty if they can."""
    try:
        done = subprocess.run(
            [*_unshared(), "ip", "link", "add", "name", "one", "type", "veth", "peer", "name", "two"],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def _unshared() -> list[str]:
    return ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"])]


def on_two_nodes(*words: object, cwd: Path, namespaces: bool = True) -> subprocess.CompletedProcess:
    """Run a command on two nodes of one process each.

    Args:
        words: The command and its arguments.
        cwd: Folder to run in.
        namespaces: Give the nodes addresses of their own, in namespaces; else both have the loopback device.
    """
    given = [str(word) for word in words]
    options = dict(
        env=dict(two_ranks.environment(ROOT / "tests"), PYTHON=sys.executable),
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    if namespaces:
        script = [*_unshared(), "bash", "-c", _TWO_NODES, "two_nodes", *given]
        return subprocess.run(script, timeout=600, check=False, **options)
    launch = [sys.executable, "-m", "mmlandmark", "launch", "--processes", "1", "--nodes", "2"]
    launch += ["--master", f"127.0.0.1:{free_port()}"]
    with subprocess.Popen(
        [*launch, "--node-rank", "1", *given], env=two_ranks.environment(ROOT / "tests"), cwd=cwd
    ) as second:
        first = subprocess.run([*launch, "--node-rank", "0", *given], timeout=600, check=False, **options)
        assert second.wait(60) == first.returncode
    return first
