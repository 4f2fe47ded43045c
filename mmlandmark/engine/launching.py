"""One command in several processes, on one machine or on several: the agent of torchrun, started from here.

Each machine has one agent, which starts the processes of that machine, ends them together and, if it may,
starts them again. Signals that ask for a stop are handed on to the processes, and a second one ends them.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from mmlandmark.utils.command_line import EXIT_NOTE, command_line

_PORT = 29500
# What other signals end is ended by the agent itself.
_FORWARDED = ("SIGTERM", "SIGINT", "SIGUSR1")
_ENDING = "SIGHUP,SIGQUIT"


def agent_arguments(
    processes: int,
    nodes: str = "1",
    node_rank: int = 0,
    master: str | None = None,
    rendezvous: str | None = None,
    job: str = "mmlandmark",
    restarts: int = 0,
    wait: int = 30,
) -> list[str]:
    """Return the arguments of torchrun that start the processes of this machine.

    Args:
        processes: On this machine.
        nodes: Machines, ``2``, or from so many to so many, ``1:4``, with a rendezvous.
        node_rank: Of this machine among those with a ``master``, from 0.
        master: ``HOST`` or ``HOST:PORT`` of the first machine, which all others reach.
        rendezvous: Likewise, of any machine: the processes agree on ranks, and machines may leave and come.
        job: Name of the run at the rendezvous, the same on all machines.
        restarts: How often all processes may be started again after one has failed.
        wait: Seconds in which further machines may come to the rendezvous, once the fewest are there.

    Raises:
        ValueError: These contradict each other.
    """
    least, _, most = nodes.partition(":")
    if not (least.isdigit() and (most or least).isdigit() and 1 <= int(least) <= int(most or least)):
        raise ValueError(f"--nodes takes a number of machines, or a range such as 1:4; got {nodes!r}")
    if master is not None and rendezvous is not None:
        raise ValueError("--master says who has which rank, --rendezvous lets machines find out: give one")
    if int(most or least) > 1 and master is None and rendezvous is None:
        raise ValueError("several machines have to find each other: give --master or --rendezvous")
    if rendezvous is None and (most and most != least):
        raise ValueError("a range of machines needs --rendezvous: with --master their number is fixed")
    if not 0 <= node_rank < int(most or least):
        raise ValueError(f"--node-rank is from 0 to {int(most or least) - 1}, got {node_rank}")
    words = ["--nproc-per-node", str(processes), "--nnodes", nodes, "--max-restarts", str(restarts)]
    words += ["--signals-to-handle", _ENDING]
    if rendezvous is not None:
        words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", with_port(rendezvous), "--rdzv-id", job]
        words += ["--rdzv-conf", f"last_call_timeout={wait}"]
    elif master is not None:
        host, _, port = with_port(master).rpartition(":")
        words += ["--node-rank", str(node_rank), "--master-addr", host, "--master-port", port]
    else:
        words += ["--standalone"]
    return words


def with_port(address: str) -> str:
    """Return ``HOST:PORT`` of an address, with the usual port if it names none.

    Raises:
        ValueError: It names no host, or the port is no number.
    """
    host, separator, port = address.rpartition(":")
    if not separator:
        host, port = address, str(_PORT)
    if not host or not port.isdigit():
        raise ValueError(f"{address!r} is no HOST or HOST:PORT")
    return f"{host}:{port}"


def usual_processes() -> int:
    """Return how many processes this machine is good for: one per GPU, or one."""
    return max(1, torch.cuda.device_count())


def threads_of_each(processes: int) -> int:
    """Return the threads that each of several processes may have, so that all cores are in use once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes)


def launch(words: Sequence[str], agent: Sequence[str]) -> int:
    """Run a command of mmlandmark in several processes, and wait for all.

    Args:
        words: The command and its arguments.
        agent: See :func:`agent_arguments`.

    Returns:
        The exit code: 0, 75 if they were stopped and the same command goes on, or that of the process that
        failed first; 128 and the number of a signal that ended it.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import parse_args, run

    arguments = parse_args([*agent, "--no-python", *command_line(words[0], *words[1:])])
    try:
        with _forwarded_signals(), _exit_note() as note:
            run(arguments)
            if note.is_file():
                return int(note.read_text(encoding="utf-8"))
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        code: int = failure.exitcode
        how = f"was ended by {failure.signal_name()}" if code < 0 else f"ended with exit code {code}"
        print(
            f"process {rank} (number {failure.local_rank} of this machine, pid {failure.pid}) {how}",
            file=sys.stderr,
        )
        return 128 - code if code < 0 else code
    except RendezvousError as error:
        print(
            f"the machines do not find each other, or the one where they do is gone: {error}", file=sys.stderr
        )
        return 1
    return 0


@contextmanager
def _exit_note() -> Iterator[Path]:
    """Yield the file in which the processes note the code of a run that was stopped and can be resumed."""
    before = os.environ.get(EXIT_NOTE)
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as folder:
        os.environ[EXIT_NOTE] = str(Path(folder, "exit_code"))
        try:
            yield Path(folder, "exit_code")
        finally:
            if before is None:
                del os.environ[EXIT_NOTE]
            else:
                os.environ[EXIT_NOTE] = before


@contextmanager
def _forwarded_signals() -> Iterator[None]:
    """Let a signal that asks for a stop reach the processes; a second one ends them at once."""
    before: dict[int, Any] = {}
    seen: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        seen.append(number)
        for child in children_of(os.getpid()):
            try:
                os.killpg(child, number if len(seen) == 1 else signal.SIGKILL)
            except ProcessLookupError:
                continue  # it has just ended

    names = [name for name in _FORWARDED if hasattr(signal, name)]
    for name in names:
        number = getattr(signal, name)
        before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def children_of(pid: int) -> list[int]:
    """Return the processes that an agent has started; each leads a session of its own."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        child, parent, session = int(status.parent.name), int(fields[1]), int(fields[3])
        if parent == pid and session == child:
            found.append(child)
    return found
