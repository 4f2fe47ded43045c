"""The two kinds of shards: tar files, and LMDB for packages that read it."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path
from typing import Any, Protocol

LMDB = ".lmdb"  # suffix of a shard in LMDB
_BLOCK = 512  # bytes of the header of a member of a tar file
_READING = threading.Lock()
_ROOM = 2**26  # bytes of an LMDB beyond its values, for pages and keys


class ShardFile(Protocol):
    """A shard that is being written."""

    @property
    def size(self) -> int:
        """Bytes so far."""

    def add(self, name: str, data: bytes) -> int:
        """Append a member; return the place of its first byte, 0 if it is found by its name."""

    def close(self) -> None:
        """Write what is left."""


class TarShard:
    """A tar file whose bytes depend on its members alone.

    Args:
        path: The file.

    Attributes:
        size: Bytes so far.
    """

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  closed below

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._tar.offset

    def add(self, name: str, data: bytes) -> int:
        """Append a member; return the place of its first byte."""
        entry = tarfile.TarInfo(name)  # without time and owner, which would change the hash
        entry.size, entry.mode = len(data), 0o644
        offset = self._tar.offset + _BLOCK
        self._tar.addfile(entry, io.BytesIO(data))
        return offset

    def close(self) -> None:
        """Write the end of the file."""
        self._tar.close()


def lmdb_package() -> Any:
    """Return the package ``lmdb``.

    Raises:
        ImportError: It is not installed; the message names the extra.
    """
    try:
        import lmdb
    except ImportError as error:
        raise ImportError("shards in LMDB need lmdb: pip install 'mmlandmark[lmdb]'") from error
    return lmdb


class LmdbShard:
    """An LMDB of one file, with the names of members as keys.

    Args:
        path: The file.

    Attributes:
        size: Bytes of its values so far.

    Raises:
        ImportError: lmdb is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.size, self._map = 0, _ROOM
        self._base = lmdb_package().open(str(path), subdir=False, lock=False, sync=False, map_size=self._map)

    def add(self, name: str, data: bytes) -> int:
        """Append a member, which is found by its name."""
        self.size += len(data)
        if self.size + _ROOM > self._map:
            self._map = 2 * (self.size + _ROOM)
            self._base.set_mapsize(self._map)
        with self._base.begin(write=True) as transaction:
            transaction.put(name.encode(), data)
        return 0

    def close(self) -> None:
        """Write all to the disk."""
        self._base.sync(True)
        self._base.close()


def read_lmdb(path: str, name: str) -> bytes | None:
    """Return a member of a shard in LMDB, None if there is none.

    The file is open during the call only: LMDB allows a process one opening of a file, and none to outlive a
    fork.

    Args:
        path: A file whose hash was checked: a damaged one may end the process.
        name: Of the member.

    Raises:
        ImportError: lmdb is not installed.
    """
    options = dict(subdir=False, readonly=True, lock=False, readahead=False)
    with _READING, lmdb_package().open(path, **options) as base, base.begin() as transaction:
        return transaction.get(name.encode())
