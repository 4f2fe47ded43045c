"""Requests to stop by a signal: Ctrl-C, SIGTERM, or SIGUSR1, by which SLURM warns. Importing it is cheap.

A command that trains takes the first of these signals as a request: it stops where it can be continued, and
exits with code 75. While the request is held, as during a step of a training, it waits until it is asked for;
otherwise it is raised at once. A second signal ends the process at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

EX_TEMPFAIL = 75  # of sysexits.h: the same command goes on with what it began
SIGNALS = tuple(getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, n))
ONE_REQUEST = 1.0  # seconds: a terminal, torchrun, timeout and SLURM may send one request several times


class StopRequested(KeyboardInterrupt):
    """The process was asked to stop; the same command goes on with what it began."""

    exit_code = EX_TEMPFAIL


class EndedBySignal(KeyboardInterrupt):
    """A signal ends the process at once.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.exit_code = 128 + number


class _Requests:
    """What this process knows of requests.

    Attributes:
        taken: Whether signals are taken as requests.
        number: Signal of the request, None before.
        held: Whether a request waits until it is asked for.
    """

    def __init__(self, taken: bool = False) -> None:
        self.taken, self.held = taken, False
        self.number: int | None = None
        self._time = 0.0

    def take(self, number: int) -> None:
        now = time.monotonic()
        if self.number is not None:
            if now - self._time > ONE_REQUEST:
                raise EndedBySignal(number)
            return
        self.number, self._time = number, now
        if not self.held and processes() == 1:
            raise StopRequested
        if os.environ.get("RANK", "0") == "0":
            # Not by print: the signal may have come in the middle of one.
            name = signal.Signals(number).name
            os.write(2, f"{name}: stopping after this step; a second signal ends at once\n".encode())


_requests = _Requests()


@contextlib.contextmanager
def taking_requests() -> Iterator[None]:
    """Take the signals in :data:`SIGNALS` as requests to stop, in this process and not in those it forks.

    Raises:
        StopRequested: By a signal, unless it is held, or other processes of the run have to agree.
        EndedBySignal: By a second signal.
    """
    global _requests
    owner, requests = os.getpid(), _Requests(taken=True)

    def handle(number: int, _: FrameType | None) -> None:
        if os.getpid() == owner:
            requests.take(number)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    _requests = requests
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _requests = _Requests()


def taken() -> bool:
    """Whether signals are taken as requests here."""
    return _requests.taken


def requested() -> bool:
    """Whether this process was asked to stop."""
    return _requests.number is not None


def hold() -> None:
    """Let requests wait: whoever holds them asks :func:`requested`."""
    _requests.held = True


def let_go() -> None:
    """Let requests wait no longer."""
    _requests.held = False


def processes() -> int:
    """Return the number of processes of the run, which must agree when to stop."""
    distributed = sys.modules.get("torch.distributed")  # without torch there is one
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 1
    return distributed.get_world_size()


def leave_to_parent() -> None:
    """In a process that works for another one, such as a loader's worker, leave requests to the parent.

    Signals often go to a whole group of processes. A worker that ended by itself would break the step that
    its parent wants to finish. It ends when its parent ends it, or is gone.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # it tells who has sent a signal; macOS lacks it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with, args=(parent.pid,), daemon=True).start()


def _end_with(parent: int | None) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
