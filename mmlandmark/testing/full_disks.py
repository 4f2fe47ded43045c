"""Disks without room, and limits for the size of files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """Mount a file system in memory with so much room, for a block.

    Args:
        folder: Where its mount point ``disk`` is made.
        kibibytes: Room.

    Raises:
        OSError: That is not permitted here.
    """
    disk = folder / "disk"
    disk.mkdir()
    _mount("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # logs may still be open


def resize_disk(disk: Path, kibibytes: int) -> None:
    """Give a disk of :func:`small_disk` so much room."""
    _mount("mount", "-o", f"remount,size={kibibytes}k", str(disk))


def _mount(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"no tmpfs can be mounted: {done.stderr.strip()}")


def limit_files(kibibytes: int) -> None:
    """Let no file of this process become larger (RLIMIT_FSIZE)."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**10 * kibibytes, limit))


def size_below(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(os.path.getsize(path) for path in folder.rglob("*") if path.is_file())
