"""Processes of one run watch over each other, so that none waits for ever for one that is gone or stopped.

Every process counts up in a store that all reach, in a thread of its own: also while its main thread loads
data, validates or makes labels, however long that takes. A process whose count stands still for
:data:`SILENCE` seconds is stopped (SIGSTOP), hangs, or is gone, and all others end with its name. They
also end if the machine that keeps the store is lost. Code that keeps the thread from running, as some
readers of images do, is no stall: another process of the same machine sees that the silent one computes, and
counts in its place. A process that gives signs of life but does nothing while others wait for it is lost as
well, see :mod:`mmlandmark.engine.rank_stall`.

A process also ends when the agent that has started it (torchrun, ``mmlandmark launch``) is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

import torch.distributed
from mmengine.dist import broadcast_object_list

from mmlandmark.engine.rank_stall import STALL, Standstill, stalled_ranks
from mmlandmark.utils.process_table import began, is_visible, state_and_time, this_process

SILENCE = 30.0  # seconds without a sign of life after which a process counts as lost
_BEAT, _LOOKS = 2.0, 15  # seconds between two signs of life, and how many come in a silence at least
_REACHED = 5.0  # seconds in which a machine accepts a connection
_watch: RankWatch | None = None


def watch_ranks(silence: float | None = SILENCE, stall: float | None = STALL) -> None:
    """Let this process and the others of its run watch over each other from now on.

    Args:
        silence: Seconds without a sign of life after which a process counts as lost, at least 1; None does
            not watch.
        stall: Seconds without any work after which a process that others wait for counts as stalled, at least
            1; None does not look for that.
    """
    global _watch
    started = torch.distributed.is_available() and torch.distributed.is_initialized()
    if _watch is not None or silence is None or not started:
        return
    agent = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    if size > 1 or agent is not None:
        owned = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        # Processes that were started again may have other ranks in the same store.
        run = [uuid.uuid4().hex]
        broadcast_object_list(run)
        store = _connect() if size > 1 else None
        keeper = None if owned or store is None else (store.host, store.port)
        standstill = None if stall is None else Standstill(stall)
        _watch = RankWatch(
            store, rank, size, silence, agent, owned, run[0], keeper=keeper, standstill=standstill
        )
        _watch.begin()


def _connect() -> Any:
    """Return a connection of its own to the store where the processes have met; None if it is not known."""
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if address is None or port is None:
        return None
    try:
        return torch.distributed.TCPStore(
            address, int(port), is_master=False, wait_for_workers=False, timeout=timedelta(seconds=10)
        )
    except RuntimeError:  # they have met in another way, such as by a file
        return None


@dataclass
class _Other:
    """What is known of another process.

    Attributes:
        count: Its last count.
        seen: When that came.
        left: Whether it has ended as it should.
        who: What tells it from others, see :func:`~mmlandmark.utils.process_table.this_process`.
        ticks: Processor time that it had used when it was looked at.
    """

    count: int = 0
    seen: float = 0.0
    left: bool = False
    who: dict[str, Any] = field(default_factory=dict)
    ticks: int = -1

    @property
    def pid(self) -> int:
        """Its id on its machine."""
        return self.who.get("pid", 0)

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, and in the same container."""
        when = self.who.get("began")
        return when is not None and is_visible(self.who) and began(self.pid) == when

    @property
    def name(self) -> str:
        """Where it runs."""
        return f", process {self.pid} on {self.who['host']}," if self.who else ""


class RankWatch:
    """Gives signs of life of a process, and looks for those of the others.

    Args:
        store: As :class:`torch.distributed.TCPStore`, of no other thread; None looks at the agent alone.
        rank: Of this process.
        size: Number of processes.
        silence: Seconds without a sign of life after which a process counts as lost.
        agent: Id of the process that has started this one, None if that may end before.
        owned: Whether the first process keeps the store, rather than the agent.
        run: Name of these processes together.
        end: Ends this process with a message.
        beat: Seconds between two signs of life; by default 2, or less where ``silence`` is short.
        keeper: Host and port of the agent that keeps the store, unless a process does.
        standstill: Tells whether this process does anything; None looks for no stall.
    """

    def __init__(
        self,
        store: Any,
        rank: int,
        size: int,
        silence: float = SILENCE,
        agent: int | None = None,
        owned: bool = True,
        run: str = "",
        end: Callable[[str], Any] | None = None,
        beat: float | None = None,
        keeper: tuple[str, int] | None = None,
        standstill: Standstill | None = None,
    ) -> None:
        self.store, self.rank, self.silence, self.agent, self.owned = store, rank, silence, agent, owned
        self.run, self.keeper, self.standstill = run, keeper, standstill
        shortest = silence if standstill is None else min(silence, standstill.limit)
        self.beat = min(_BEAT, shortest / _LOOKS) if beat is None else beat
        self.others = {other: _Other() for other in range(size) if other != rank}
        self._end, self._left = end or end_process, threading.Event()
        self._answered = self._reached = time.monotonic()  # when the store did, and when its machine did
        self._stalled: str | None = None  # what is to be said of processes that stand still

    def begin(self) -> None:
        """Begin in threads of their own."""
        self._forgive()
        atexit.register(self.leave)
        if self.store is not None:
            self.store.set(self._key("who", self.rank), json.dumps(this_process()))
            threading.Thread(target=self._give_signs, daemon=True).start()
        threading.Thread(target=self._look, daemon=True).start()

    def leave(self) -> None:
        """Tell the others that this process ends as it should."""
        if self._left.is_set():
            return
        self._left.set()
        if self.store is not None:
            with contextlib.suppress(RuntimeError):  # the store may have left before
                self.store.set(self._key("left", self.rank), "1")

    def _forgive(self) -> None:
        """Begin to wait anew: this process was stopped itself, and cannot know of the others."""
        self._answered = self._reached = time.monotonic()
        for other in self.others.values():
            other.seen = self._answered

    def _give_signs(self) -> None:
        """Count up, and read the counts of the others; no other thread asks the store: it may not answer."""
        self._leave_thread_out()
        while not self._left.wait(self.beat):
            try:
                if self.standstill is not None:
                    self._compare_work(self.standstill)
                self.store.add(self._key("count", self.rank), 1)
                for rank, other in self.others.items():
                    if not other.who:
                        self._learn(rank, other)
                    count = self.store.add(self._key("count", rank), 0)
                    if count != other.count:
                        other.count, other.seen = count, time.monotonic()
                    elif time.monotonic() - other.seen > 2 * self.beat:
                        self._look_closer(rank, other)
            except RuntimeError:  # who keeps it is gone, and so are all connections through it
                self.store = None
                return
            self._answered = time.monotonic()

    def _leave_thread_out(self) -> None:
        if self.standstill is not None:
            self.standstill.left_out.add(threading.get_native_id())

    def _compare_work(self, standstill: Standstill) -> None:
        """Tell the others where this process is; tell all if they wait for one that does nothing."""
        standstill.look()
        mine = standstill.report()
        self.store.set(self._key("work", self.rank), json.dumps(mine))
        if self.store.check([self._key("stalled", 0)]):
            self._stalled = self.store.get(self._key("stalled", 0)).decode()
        elif mine["still"]:
            reports = self._reports(mine)
            said = [
                f"rank {rank} of the run{self._name(rank)} has done nothing for {standstill.limit:g} s, in "
                f"{reports[rank]['where']}"
                for rank in stalled_ranks(reports)
            ]
            if said:  # all read it at their next beat, this one, too
                self.store.set(self._key("stalled", 0), "; ".join(said))

    def _reports(self, mine: dict[str, Any]) -> dict[int, Any]:
        """Return what each process says of its work that has not left; nothing if one has not said it yet."""
        reports = {self.rank: mine}
        for rank in self.others:
            if self.store.check([self._key("left", rank)]):
                continue
            if not self.store.check([self._key("work", rank)]):
                return {}
            reports[rank] = json.loads(self.store.get(self._key("work", rank)))
        return reports

    def _name(self, rank: int) -> str:
        return (self.others[rank] if rank != self.rank else _Other(who=this_process())).name

    def _learn(self, rank: int, other: _Other) -> None:
        if self.store.check([self._key("who", rank)]):
            other.who = json.loads(self.store.get(self._key("who", rank)))

    def _look_closer(self, rank: int, other: _Other) -> None:
        """Ask whether a silent process has left; count for it if it computes, or is looked into."""
        other.left = other.left or self.store.check([self._key("left", rank)])
        if not other.is_here:
            return
        state, ticks = state_and_time(other.pid)
        if state == "t" or (state != "T" and 0 <= other.ticks < ticks):
            self.store.add(self._key("count", rank), 1)
        other.ticks = ticks

    def _look(self) -> None:
        """End this process if another one, or the agent, is lost."""
        before = time.monotonic()
        self._leave_thread_out()
        while not self._left.wait(self.beat):
            if self.agent is not None and os.getppid() != self.agent:
                self._end(f"process {self.agent}, which has started this one, is gone: this one ends, too")
                return
            now = time.monotonic()
            if now - before > max(self.silence / 3, 2 * self.beat):
                self._forgive()
            before = now
            lost = self._lost(now)
            if lost is not None:
                self._end(lost)
                return

    def _lost(self, now: float) -> str | None:
        """Return what is to be said of a process that is lost, None if there is none."""
        if self._stalled is not None:
            return (
                f"{self._stalled}: it waits for something that does not come, and the others for it, so rank "
                f"{self.rank} ends, too; the run can be resumed"
            )
        if self.store is None:
            return None
        if now - self._answered > self.silence:
            if not self.owned:
                return self._keeper_lost()
            lost = [0] if self.rank != 0 else []
        else:
            lost = [
                n for n, other in self.others.items() if now - other.seen > self.silence and not other.left
            ]
        for rank in lost:
            other = self.others[rank]
            if other.is_here and state_and_time(other.pid)[0] == "T":  # it would not hear another signal
                with contextlib.suppress(ProcessLookupError):
                    os.kill(other.pid, signal.SIGKILL)
            return self._said(rank, other)
        return None

    def _keeper_lost(self) -> str | None:
        """Return what is to be said if the machine with the store is lost, None if it is there.

        Its system accepts connections also for an agent that is stopped, which does no harm.
        """
        if self.keeper is None or time.monotonic() - self._reached <= self.silence:
            return None
        try:
            socket.create_connection(self.keeper, timeout=min(_REACHED, self.silence)).close()
        except OSError as error:
            return (
                f"{self.keeper[0]}, where the processes of the run meet, has not answered for "
                f"{self.silence:g} s ({error}): it is lost, so rank {self.rank} ends, too; the run can be "
                "resumed"
            )
        self._reached = time.monotonic()
        return None

    def _key(self, kind: str, rank: int) -> str:
        return f"mmlandmark/{self.run}/{kind}/{rank}"

    def _said(self, rank: int, other: _Other) -> str:
        return (
            f"rank {rank} of the run{other.name} has given no sign of life for {self.silence:g} s: it is "
            f"stopped, hangs or is gone, so rank {self.rank} ends, too; the run can be resumed"
        )


def end_process(message: str) -> NoReturn:
    """End this process at once, whatever its other threads wait for."""
    with contextlib.suppress(OSError):  # whoever read what it says may be gone
        os.write(2, f"error: {message}\n".encode())
    os._exit(1)
