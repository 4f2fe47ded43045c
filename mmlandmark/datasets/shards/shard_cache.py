"""Members of shards on this machine, in a folder of bounded size."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mmlandmark.datasets.readers.file_format import suffix_of
from mmlandmark.datasets.shards.shard_index import Member
from mmlandmark.utils.files import atomic_path, expanded, file_hash

_STEP = 32  # a process looks at the folder when it has added this part of the limit
_KEPT = 3 / 4  # of the limit, when files are removed: the rest is for what other processes add meanwhile
_STALE = 3600  # seconds after which a reader's own name, or a half-written file, is left from a kill
_SUFFIX = r"\.(?:nii\.gz|[a-z0-9]+)"
_KEPT_NAME = re.compile(rf"[0-9a-f]{{64}}{_SUFFIX}")
# What a reader holds, and what is being written: a hidden name with eight random characters.
_HELD_NAME = re.compile(rf"\.[0-9a-f]{{64}}(?:\.nii)?-[a-z0-9_]{{8}}{_SUFFIX}")


class ShardCache:
    """Files under the hash of their content, so that several data sets and processes share them.

    The files that were not used for longest are removed before the folder exceeds its limit, with up to eight
    processes that add to it; a file of more than 1/32 of the limit is not kept. What is read is checked by
    its hash, so a damaged file is fetched again.

    Args:
        folder: Of the cache, created if missing. Only files that a cache wrote are counted and removed.
        max_gb: Its limit in GiB.

    Raises:
        ValueError: The limit is not positive.
    """

    def __init__(self, folder: str | Path, max_gb: float) -> None:
        if not max_gb > 0:
            raise ValueError(f"cache_gb must be positive, got {max_gb!r}")
        self.folder, self.limit = Path(expanded(folder)), int(max_gb * 2**30)
        self._added = self.limit  # so that the first file looks at what is there

    def keeps(self, member: Member) -> bool:
        """Return whether a member is small enough to be kept."""
        return member.size <= self.limit // _STEP

    @contextlib.contextmanager
    def local(self, member: Member, read: Callable[[], bytes]) -> Iterator[Path]:
        """Yield a file with the content of a member, which ``read()`` provides the first time.

        The file has a name of its own until the block ends: no process that makes room takes it away.

        Args:
            member: Of a shard.
            read: Returns its checked content.

        Raises:
            NoSpaceError: The disk is full.
        """
        suffix = suffix_of(member.name)
        path = self.folder / member.sha256[:2] / f"{member.sha256}{suffix}"
        held = path.with_name(f".{member.sha256}-{secrets.token_hex(4)}{suffix}")
        try:
            if not _hold(path, held, member):
                data = read()
                self._make_room(len(data))
                with atomic_path(path, durable=False) as temporary:
                    temporary.write_bytes(data)
                    _second_name(temporary, held)
            yield held
        finally:
            held.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, if it is time to look at the folder."""
        self._added += size
        if self._added <= self.limit / _STEP:
            return
        self._added = 0
        kept, sizes, now = [], {}, time.time()
        for path, state in self._own_files():
            if _HELD_NAME.fullmatch(path.name) and now - state.st_ctime > _STALE:
                path.unlink(missing_ok=True)
                continue
            sizes[state.st_dev, state.st_ino] = state.st_size  # a reader's file has two names
            if _KEPT_NAME.fullmatch(path.name):
                kept.append((state.st_mtime_ns, state.st_size, path))
        total = size + sum(sizes.values())
        for used, length, path in sorted(kept):
            if total <= self.limit * _KEPT:
                break
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                if path.lstat().st_mtime_ns == used:  # else it is in use since
                    path.unlink()
            total -= length

    def _own_files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the files that caches wrote: each in the folder of the first digits of its hash."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            own = _KEPT_NAME.fullmatch(path.name) or _HELD_NAME.fullmatch(path.name)
            if not own or path.name.lstrip(".")[:2] != path.parent.name:
                continue
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                state = path.lstat()
                if stat.S_ISREG(state.st_mode):
                    yield path, state


def _hold(path: Path, held: Path, member: Member) -> bool:
    """Give the file of a member a second name, if it is there and whole; return whether it is."""
    try:
        _second_name(path, held)
    except FileNotFoundError:  # not there yet, or another process has just removed it
        return False
    if held.stat().st_size != member.size or file_hash(held) != member.sha256:
        held.unlink()
        return False
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)  # used just now
    return True


def _second_name(path: Path, name: Path) -> None:
    """Give a file a second name; where the file system has no such links, a copy."""
    try:
        os.link(path, name)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, name)
