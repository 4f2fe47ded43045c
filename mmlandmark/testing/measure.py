"""Time and memory of functions that do the same, measured fairly."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

Functions = Mapping[str, Callable[[], object]]


def paired_times(
    functions: Functions, rounds: int, device: str = "cpu", warmup: int = 1
) -> dict[str, list[float]]:
    """Return the seconds of every function in every round.

    The functions take turns, another one first in every round, so that a busy machine is unfair to all alike.
    Right before it is measured each is called once more: what it needs of memory and caches is then at hand,
    whatever the others left behind, and not with the host of a virtual machine.

    Args:
        functions: What to call, by name; a result is dropped at once.
        rounds: Number of turns.
        device: ``cuda`` measures between two events on the current stream.
        warmup: Calls of each before anything is measured.
    """
    names = list(functions)
    for name in names:
        for _ in range(warmup):
            functions[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            functions[name]()
            seconds[name].append(_seconds(functions[name], device))
    return seconds


def _seconds(function: Callable[[], object], device: str) -> float:
    if device == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        function()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def median_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the median of ``one / other``, round by round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def peak_memory(function: Callable[[], object], device: str = "cpu", warmup: int = 1) -> int | None:
    """Return how many bytes a call takes at its highest, beyond what was in use; None where unknown.

    On a CPU this is resident memory as Linux counts it. What a process has freed before and kept is not seen:
    measure large calls of several kinds in a process each.

    Args:
        function: What to call.
        device: ``cpu`` or ``cuda``.
        warmup: Calls before the one that is measured.
    """
    for _ in range(warmup):
        function()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():
        return None
    before = _kilobytes(status, "VmRSS")
    reset.write_text("5")  # forget the highest use so far
    function()
    return 1024 * max(_kilobytes(status, "VmHWM") - before, 0)


def _kilobytes(status: Path, key: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key))


def kernel_launches(function: Callable[[], object]) -> int:
    """Return how many kernels a call starts on the GPU; copies and fills of memory are not counted."""
    function()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        function()
        torch.cuda.synchronize()
    found = [e.name for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return sum(not name.startswith(("Memcpy", "Memset")) for name in found)
