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

    The functions take turns, and each round starts with another one, so that other load affects all alike.
    Each is called once more right before it is measured, so that its memory and caches are warm.

    Args:
        functions: Functions by name; their results are dropped.
        rounds: Number of rounds.
        device: ``cuda`` measures between two events on the current stream.
        warmup: Calls of each function before the first round.
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
    """Return the peak memory of a call in bytes, beyond the memory in use before; None if it is unknown.

    On a CPU this is the resident memory that Linux reports. Memory that the process has freed and kept is not
    counted, so measure each kind of large call in its own process.

    Args:
        function: The function.
        device: ``cpu`` or ``cuda``.
        warmup: Calls before the measured one.
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
    reset.write_text("5")  # reset the peak
    function()
    return 1024 * max(_kilobytes(status, "VmHWM") - before, 0)


def peak_resident() -> int | None:
    """Return the largest resident memory of this process so far in bytes; None if Linux does not say."""
    status = Path("/proc/self/status")
    return 1024 * _kilobytes(status, "VmHWM") if status.exists() else None


def _kilobytes(status: Path, key: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key))


def kernel_launches(function: Callable[[], object]) -> int:
    """Return the number of GPU kernels that a call launches, without memory copies and fills."""
    function()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        function()
        torch.cuda.synchronize()
    names = [e.name for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return sum(not name.startswith(("Memcpy", "Memset")) for name in names)
