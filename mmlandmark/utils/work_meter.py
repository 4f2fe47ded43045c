"""How much this process and those that it has started do, as the system sees it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

_BYTES = 1e6  # read or written: as much work as a second of computing
_COUNTED = ("rchar", "wchar", "read_bytes", "write_bytes")


class WorkMeter:
    """Counts the work of this process and of those that it has started, such as workers of a loader.

    Work is computing, in seconds, and reading and writing, of which a megabyte counts as a second. What waits
    for a lock, for an answer or for a file server that is gone does none.
    """

    def __init__(self) -> None:
        self._done = 0.0
        self._before: dict[str, float] | None = None

    def look(self, left_out: Collection[int] = ()) -> float | None:
        """Return the work in seconds since the first look; None where the system does not say.

        Args:
            left_out: Threads of this process that do not count, by the numbers of the system.
        """
        try:
            now = dict(_work(left_out))
        except OSError:
            return None
        if self._before is not None:
            before = self._before
            self._done += sum(max(0.0, work - before.get(key, 0.0)) for key, work in now.items())
        self._before = now
        return self._done


def sign_of_work() -> None:
    """Count as at work where the system sees none, as while a disk takes its time.

    It writes a megabyte to nowhere, which takes microseconds and is seen from processes that have started
    this one, too.
    """
    with open(os.devnull, "wb", buffering=0) as nowhere:
        nowhere.write(bytes(int(_BYTES)))


def _work(left_out: Collection[int]) -> Iterator[tuple[str, float]]:
    """Yield the threads of this process and all processes below it, with the work of each."""
    own = Path("/proc/self/task")
    for thread in os.listdir(own):
        if int(thread) not in left_out:
            yield thread, _seconds(own / thread)
    waiting, seen = _children(os.getpid()), set()
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            yield f"process {pid}", _seconds(Path(f"/proc/{pid}"))
            waiting += _children(pid)


def _seconds(folder: Path) -> float:
    """Return the work of a thread or process by its folder; 0 if it has just ended."""
    done = 0.0
    with contextlib.suppress(OSError):
        fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        done += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    with contextlib.suppress(OSError):  # some systems do not count bytes
        for line in (folder / "io").read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(": ")
            done += int(count) / _BYTES if name in _COUNTED else 0
    return done


def _children(pid: int) -> list[int]:
    """Return what a process has started; nothing if it has just ended, or where the system does not say."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text(encoding="ascii")
            found += map(int, text.split())
    return found
