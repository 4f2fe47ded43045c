"""Commands that run one after another within a limit of time, with a JSON file for each when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import atomic_write_json

TAIL = 4000  # characters of output that a report keeps
GRACE = 10.0  # seconds between the request to stop and the kill


@dataclass(frozen=True)
class Part:
    """One step of a longer run.

    Attributes:
        name: Name of its JSON file.
        commands: From the minutes that are left to command lines, which run until one fails.
        minutes: Most that all its commands together may take.
        environment: Variables on top of those of this process.
        allowed_codes: Exit codes that are no failure.
        missing: What this part lacks to run at all; empty where it lacks nothing.
        results: What to add to the report when the commands have ended, whichever way.
    """

    name: str
    commands: Callable[[float], Sequence[Sequence[str]]]
    minutes: float
    environment: Mapping[str, str] = field(default_factory=dict)
    allowed_codes: Sequence[int] = (0,)
    missing: str = ""
    results: Callable[[], dict[str, Any]] = dict


def run_parts(parts: Sequence[Part], out: Path, minutes: float, about: Mapping[str, Any]) -> list[dict]:
    """Run all parts; one that fails or takes too long does not stop the next.

    Args:
        parts: What to run, in this order.
        out: Folder of the reports; ``<name>.json`` is written as soon as a part ends.
        minutes: For all parts together; a part that would start later is skipped.
        about: Entries of every report.

    Returns:
        The reports: ``status`` is ``done``, ``failed``, ``timed out`` or ``skipped``.
    """
    end = time.monotonic() + 60 * minutes
    reports = []
    for part in parts:
        left = min(60 * part.minutes, end - time.monotonic())
        print(f"== {part.name}, {max(left, 0) / 60:.1f} minutes at most", flush=True)
        report = {"part": part.name, **about, **_run(part, left)}
        atomic_write_json(out / f"{part.name}.json", report)
        print(f"== {part.name}: {report['status']} after {report['seconds']} s", flush=True)
        reports.append(report)
    return reports


def _run(part: Part, seconds: float) -> dict[str, Any]:
    """Run the commands of one part and return its report."""
    reason = part.missing or ("" if seconds > 1 else "no time was left")
    if reason:
        return dict(status="skipped", reason=reason, seconds=0.0)
    start, output, codes, status = time.monotonic(), "", [], "done"
    commands = part.commands(seconds / 60)
    for command in commands:
        code, text = run_limited(command, seconds - (time.monotonic() - start), part.environment)
        output += text
        codes.append(code)
        if code not in part.allowed_codes:
            status = "timed out" if code is None else "failed"
            break
    report = dict(
        status=status,
        seconds=round(time.monotonic() - start, 1),
        commands=[" ".join(command) for command in commands[: len(codes)]],
        exit_codes=codes,
    )
    try:
        report["results"] = part.results()
    except Exception as error:  # a broken result must not take the report with it
        status = "failed" if status == "done" else status
        report.update(status=status, reason=f"results: {type(error).__name__}: {error}")
    return {**report, "output_tail": output[-TAIL:]}


def run_limited(
    command: Sequence[str], seconds: float, environment: Mapping[str, str]
) -> tuple[int | None, str]:
    """Run a command in a process group of its own, and end the whole group when its time is up.

    Args:
        command: Words of the command line.
        seconds: Time it has.
        environment: Variables on top of those of this process.

    Returns:
        Its exit code, None where it ran out of time, and all it printed, which is passed on as well.
    """
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return 127, f"{error}\n"
    try:
        output, _ = process.communicate(timeout=max(seconds, 0))
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        output, code = _end(process), None
    finally:
        _signal(process, signal.SIGKILL)  # what the command left running
    text = output.decode(errors="replace")
    print(text, end="", flush=True)
    return code, text


def _end(process: subprocess.Popen) -> bytes:
    """Ask a process group to stop, then kill it; return its output."""
    _signal(process, signal.SIGTERM)
    try:
        return process.communicate(timeout=GRACE)[0]
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        return process.communicate()[0]


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # the group has ended
        os.killpg(process.pid, number)
