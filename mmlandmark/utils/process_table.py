"""What the system says of other processes of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"  # when a process began: systems may hide that of other users


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
