"""One command in several processes, on one machine or on several: the agent of torchrun, started from here.

Each machine has one agent, which starts the processes of that machine, ends them together and, if it may,
starts them again. Signals that ask for a stop are handed on to the processes, and a second one ends them, see
:class:`SignalRelay`.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mmlandmark.utils import stop_requests
from mmlandmark.utils.command_line import EXIT_NOTE, command_line
from mmlandmark.utils.stop_requests import EndedBySignal, StopRequested

_PORT = 29500
# What other signals end is ended by the agent itself.
_FORWARDED = ("SIGTERM", "SIGINT", "SIGUSR1")
_ENDING = "SIGHUP,SIGQUIT"
_LOOK = 0.2  # seconds between two looks for processes that the agent has started again


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

    Raises:
        StopRequested: A signal asked for a stop while there were no processes that could.
        EndedBySignal: A second signal, likewise.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import parse_args, run

    if "--rdzv-backend" in agent:
        # With the store that agents share, PyTorch 2.13 tells a machine that comes later no address: the
        # first one notes it in its first round only, and all fail a minute later.
        os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    relay = SignalRelay()
    arguments = parse_args([*agent, "--no-python", *command_line(words[0], *words[1:])])
    try:
        with _exit_note() as note, relay:
            run(arguments)
            if note.is_file():
                return int(note.read_text(encoding="utf-8"))
    except SignalException:
        if relay.end is None:
            raise
        raise relay.end from None
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        code: int = failure.exitcode
        if code == -(relay.asked or 0):  # it was asked to stop before it could listen
            raise StopRequested from None
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


class SignalRelay:
    """Hands signals that ask for a stop on to the processes of this machine; a second one ends them at once.

    What comes within :data:`~mmlandmark.utils.stop_requests.ONE_REQUEST` of the first is the same request.
    Where there are no processes, as while the agent waits for other machines, it ends itself. A thread does
    this: the main thread may wait within the connection to another machine, where no handler of Python runs.

    Attributes:
        asked: Number of the first signal, None before.
        end: How the agent is to end by itself, None while it is not.
    """

    patience = 2.0  # seconds until a main thread that does not hear of its end is not waited for

    def __init__(self) -> None:
        self.asked: int | None = None
        self.end: StopRequested | EndedBySignal | None = None
        self._time = 0.0
        self._known: set[int] = set()  # processes that were asked
        self._left, self._heard = threading.Event(), threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> SignalRelay:
        self._numbers = {getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)}
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, lambda *_: None)  # the pipe tells the thread
        self._before[signal.SIGURG] = signal.signal(signal.SIGURG, self._leave)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._thread.join()
        for end in self._pipe:
            os.close(end)

    def _listen(self) -> None:
        while not self._left.is_set():
            ready, _, _ = select.select([self._pipe[0]], [], [], _LOOK)
            for number in os.read(self._pipe[0], 64) if ready else b"":
                if number in self._numbers:
                    self._take(number)
            if self.asked is not None and set(children_of(os.getpid())) - self._known:
                self._end(StopRequested())  # the agent has started all again, which know of no request

    def _take(self, number: int) -> None:
        now = time.monotonic()
        first = self.asked is None
        if first:
            self.asked, self._time = number, now
        elif now - self._time <= stop_requests.ONE_REQUEST:
            return
        children = children_of(os.getpid())
        for child in children:
            self._known.add(child)
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(child, number if first else signal.SIGKILL)
        if not children:
            self._end(StopRequested() if first else EndedBySignal(number))

    def _end(self, end: StopRequested | EndedBySignal) -> None:
        """End the agent: its main thread if that hears of it, else the process."""
        if self.end is not None and isinstance(end, StopRequested):
            return
        self.end = end
        if self._heard.is_set():  # and does not come to its end
            self._end_process(end)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGURG)
        give_up = time.monotonic() + self.patience
        while not (self._heard.wait(_LOOK) or self._left.is_set()):
            if time.monotonic() > give_up:
                self._end_process(end)

    def _end_process(self, end: StopRequested | EndedBySignal) -> None:
        said = "stopped: the same command goes on" if isinstance(end, StopRequested) else "stopped"
        with contextlib.suppress(OSError):  # whoever read what it says may be gone
            os.write(2, f"{said}\n".encode())
        folder = os.environ.get(EXIT_NOTE)
        if folder is not None:
            shutil.rmtree(Path(folder).parent, ignore_errors=True)
        os._exit(end.exit_code)

    def _leave(self, *_: Any) -> None:
        """Leave the agent as by a signal of its own, so that others can still meet without this machine."""
        from torch.distributed.elastic.multiprocessing.api import SignalException

        if self.end is not None and not self._heard.is_set() and not self._left.is_set():
            self._heard.set()
            raise SignalException("the agent is asked to stop", sigval=signal.SIGTERM)


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
