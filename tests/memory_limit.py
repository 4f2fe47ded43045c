"""Little memory for a part of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def limited_memory(more: int = 1 << 28) -> Iterator[None]:
    """Let this process have no more than so many bytes beyond those that it has."""
    resource = pytest.importorskip("resource")
    pages = Path("/proc/self/statm")
    if not pages.is_file():
        pytest.skip("this system does not say how much memory a process has")
    used = int(pages.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
