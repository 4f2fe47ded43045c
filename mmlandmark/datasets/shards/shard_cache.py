"""Members of shards on this machine, in a folder of bounded size."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mmlandmark.datasets.readers.file_format import suffix_of
from mmlandmark.datasets.shards.shard_index import Member
from mmlandmark.utils.files import atomic_path, expanded, file_hash

_STEP = 32  # a process looks at the folder when it has added this part of the limit
_KEPT = 3 / 4  # of the limit, when files are removed: the rest is for what other processes add meanwhile


class ShardCache:
    """Files under the hash of their content, so that several data sets and processes share them.

    The files that were not used for longest are removed before the folder exceeds its limit, with up to eight
    processes that add to it; a file of more than 1/32 of the limit is not kept. What is read is checked by
    its hash, so a damaged file is fetched again.

    Args:
        folder: Of the cache, created if missing; other files in it stay.
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

    def fetch(self, member: Member, read: Callable[[], bytes]) -> Path:
        """Return the file of a member, which ``read()`` provides the first time.

        Args:
            member: Of a shard.
            read: Returns its checked content.

        Raises:
            NoSpaceError: The disk is full.
        """
        path = self.folder / member.sha256[:2] / f"{member.sha256}{suffix_of(member.name)}"
        try:
            if path.stat().st_size == member.size and file_hash(path) == member.sha256:
                os.utime(path)  # used just now
                return path
        except FileNotFoundError:
            pass  # not there yet, or another process has just removed it
        data = read()
        self._make_room(len(data))
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
        return path

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, if it is time to look at the folder."""
        self._added += size
        if self._added <= self.limit / _STEP:
            return
        self._added = 0
        files = []
        for path in self.folder.glob("??/*"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another process has removed it
                continue
            files.append((state.st_mtime_ns, state.st_size, path))
        total = size + sum(file[1] for file in files)
        for _, length, path in sorted(files):
            if total <= self.limit * _KEPT:
                break
            path.unlink(missing_ok=True)
            total -= length
