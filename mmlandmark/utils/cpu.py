"""Properties of the processor."""

from __future__ import annotations

import platform
from pathlib import Path

_INFO = Path("/proc/cpuinfo")


def cpu_model() -> str:
    """Return the name of the processor, or of its architecture if the name is not known."""
    return _line("model name") or platform.processor() or platform.machine()


def has_bfloat16() -> bool | None:
    """Return whether the processor has instructions for bfloat16; None if this is not known."""
    flags = _line("flags") or _line("features")  # x86, Arm
    return None if flags is None else any("bf16" in flag for flag in flags.split())


def _line(key: str) -> str | None:
    """Return the first value that Linux gives for ``key``."""
    if _INFO.is_file():
        for line in _INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() == key:
                return value.strip()
    return None
