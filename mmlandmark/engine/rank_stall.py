"""A process of a run that waits for something that never comes, while its threads still give signs of life.

From outside, an honest slow step and a stall look alike: both let the others wait. What can be known is

- how many collective operations of PyTorch each process has entered: those that have entered fewest are not
  waiting for the others, and the others, that have entered more, are waiting for them;
- whether a process does anything: it, or a process that it has started, computes, reads or writes.

So a run has stalled if all processes that have entered fewest operations have done nothing for
:data:`STALL` seconds. A long validation, a slow loader, a round of labels or a compilation of minutes all
compute; a lock that nobody gives back and a file of a server that is gone do not. A loop that computes for
ever is not told from an honest one: for it there is ``env_cfg.dist_cfg.timeout``.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed

from mmlandmark.utils.work_meter import WorkMeter

STALL = 40.0  # seconds without any work after which a process that others wait for counts as stalled
_SHARE = 0.002  # of a core: what threads use that look now and then for work that does not come
_FRAMES = 4  # of the main thread that are named


class Standstill:
    """Whether this process has stood still for some time.

    Args:
        limit: Seconds.
        entered: Returns how many collective operations it has entered, None if that is not known.

    Attributes:
        at: Number of operations at the last look.
        still: Whether it then had stood still for that time.
        left_out: Threads that do not count, by the numbers of the system.
    """

    def __init__(self, limit: float, entered: Callable[[], int | None] | None = None) -> None:
        self.limit, self._entered = limit, entered or collectives_entered
        self.at: int | None = None
        self.still = False
        self.left_out: set[int] = set()
        self._meter, self._looks = WorkMeter(), deque[tuple[float, float]]()
        self._looked = 0.0

    def look(self, now: float | None = None) -> None:
        """Compare with earlier looks, which should come several times within the limit.

        Args:
            now: Time in seconds, by default of :func:`time.monotonic`.
        """
        now = time.monotonic() if now is None else now
        at = self._entered()
        suspended = now - self._looked > self.limit / 2  # or another thread has computed all the time
        self.still, self._looked = False, now
        if at is None or at != self.at or suspended:
            self.at = at
            self._meter, self._looks = WorkMeter(), deque()
            return
        work = self._meter.look(self.left_out)
        if work is None:
            return
        self._looks.append((now, work))
        while len(self._looks) > 1 and self._looks[1][0] <= now - self.limit:
            self._looks.popleft()
        begun, before = self._looks[0]
        self.still = now - begun >= self.limit and work - before < _SHARE * self.limit

    def report(self) -> dict[str, Any]:
        """Return what others should know."""
        return dict(at=self.at, still=self.still, where=waits_in() if self.still else "")


def stalled_ranks(reports: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Return the processes that a run waits for without hope; none if it goes on, or nobody knows.

    Args:
        reports: What :meth:`Standstill.report` has returned in each process that has not ended.
    """
    if len(reports) < 2 or any(report["at"] is None for report in reports.values()):
        return []
    least = min(report["at"] for report in reports.values())
    behind = [rank for rank, report in sorted(reports.items()) if report["at"] == least]
    return behind if all(reports[rank]["still"] for rank in behind) else []


def collectives_entered() -> int | None:
    """Return how many operations of all processes this one has entered; None if PyTorch does not count."""
    if not torch.distributed.is_initialized():
        return None
    group: Any = torch.distributed.group.WORLD
    try:
        return int(group._get_sequence_number_for_group())
    except (AttributeError, RuntimeError):  # the processes have just parted, or talk through MPI
        return None


def waits_in() -> str:
    """Return where the main thread is, from the outer to the inner call."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    found: list[str] = []
    while frame is not None and len(found) < _FRAMES:
        code = frame.f_code
        found.append(f"{code.co_name} ({Path(code.co_filename).name}:{frame.f_lineno})")
        frame = frame.f_back
    return " > ".join(reversed(found))
