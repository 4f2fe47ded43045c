"""What the system says of other processes of this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"  # when a process began: systems may hide that of other users


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others.

    These are ``host``, ``machine``, ``boot``, ``pid_namespace``, ``pid`` and ``began``. Machines may have one
    host name: their numbers tell them apart, or a random word of every start. Containers with one host name
    may each count their processes from 1: ``pid_namespace`` tells them apart. What the system does not say is
    None.
    """
    pid = os.getpid()
    return dict(host=socket.gethostname(), **_place(), pid=pid, began=began(pid))


def is_visible(owner: Mapping[str, Any]) -> bool:
    """Whether a process would be seen from here, if it lives: it is of this machine, and of this container.

    Args:
        owner: As :func:`this_process` has returned for it; earlier versions did not say all.
    """
    here = dict(host=socket.gethostname(), **_place())
    if here["machine"] is not None and owner.get("machine") == here["machine"]:
        here["boot"] = None  # which was another if the machine has started anew, and the process has ended
    return owner.get("host") == here["host"] and all(
        None in (value, owner.get(key)) or owner[key] == value for key, value in here.items()
    )


def _place() -> dict[str, str | None]:
    """Return the number of this machine, of its last start, and of what a container sees of its processes."""

    def text(path: str) -> str | None:
        try:
            return Path(path).read_text(encoding="ascii").strip() or None
        except (OSError, ValueError):
            return None

    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = None
    return dict(
        machine=text("/etc/machine-id"), boot=text("/proc/sys/kernel/random/boot_id"), pid_namespace=namespace
    )


def began(pid: Any) -> str | None:
    """Return when a process of this machine began, None if there is none of that number.

    Numbers are reused; where the system does not say when a process began, the number alone counts, and this
    is :data:`UNKNOWN`.

    Args:
        pid: Its number, which may be anything that a file says.
    """
    if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # the process exists and belongs to somebody else
    except (ProcessLookupError, OverflowError):
        return None
    fields = _status(pid)
    if fields is None:
        return UNKNOWN
    return None if fields[0] == "Z" else fields[19]  # a zombie is dead


def state_and_time(pid: int) -> tuple[str, int]:
    """Return the state of a process, in a letter of Linux, and the processor time that it has used.

    Returns:
        Such as ``T`` (stopped), ``t`` (looked into by a debugger), ``R`` (computes); and time in ticks of the
        system. Without knowledge they are empty and -1.
    """
    fields = _status(pid)
    return ("", -1) if fields is None else (fields[0], int(fields[11]) + int(fields[12]))


def _status(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
