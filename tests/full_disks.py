"""Disks that are full, for tests of what is then said and left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mmlandmark.testing import full_disks


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """Mount a file system in memory with so much room; skip the test where that is not permitted."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(full_disks.small_disk(folder, kibibytes))
        except OSError as error:
            pytest.skip(f"no tmpfs can be mounted: {error}")
        yield disk


@contextmanager
def small_files(folder: Path, kibibytes: int) -> Iterator[Path]:
    """Let no file of this process become larger (RLIMIT_FSIZE): the system's error is another one."""
    if sys.platform == "win32":
        pytest.skip("Windows has no limit for the size of files")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    full_disks.limit_files(kibibytes)
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
