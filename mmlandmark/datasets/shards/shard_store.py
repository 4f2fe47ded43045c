"""Reading the members of shards, wherever these are, checked against the index."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend

from mmlandmark.datasets.left_out import UnavailableError
from mmlandmark.datasets.shards.shard_cache import ShardCache
from mmlandmark.datasets.shards.shard_files import LMDB, read_lmdb
from mmlandmark.datasets.shards.shard_index import Member, ShardIndex
from mmlandmark.utils.disk_space import naming_full_disk
from mmlandmark.utils.file_backends import CutOffError, open_backend, read_range
from mmlandmark.utils.files import file_hash


class ShardError(UnavailableError):
    """A shard is missing, cut off, or not what its index says."""


class ShardStore:
    """The members of the shards of an index.

    Args:
        index: Of the shards.
        backend_args: See :func:`~mmlandmark.utils.file_backends.open_backend`.
        cache: Where members are kept on this machine; None keeps none.
        most: Bytes that a member may have.
    """

    def __init__(
        self,
        index: ShardIndex,
        backend_args: dict[str, Any] | None = None,
        cache: ShardCache | None = None,
        most: int = 2**32,
    ) -> None:
        self.index, self.cache, self.most = index, cache, most
        self._backend = open_backend(index.uri, backend_args)
        self._verified: set[int] = set()  # shards in LMDB

    def name_of(self, member: Member) -> str:
        """Return the place of a member, for messages: its shard and its name there."""
        return f"{self.index.uri_of(member.shard)}/{member.name}"

    def read(self, member: Member) -> bytes:
        """Return the content of a member.

        Raises:
            ShardError: The shard is missing, cut off or altered; the message names it.
            OSError: The server does not answer well.
            ValueError: The member is larger than is allowed.
        """
        shard, uri = self.index.shards[member.shard], self.index.uri_of(member.shard)
        if member.size > self.most:
            raise ValueError(
                f"{self.name_of(member)} has {member.size:,} bytes, more than the {self.most:,} that are "
                "allowed: raise max_member_gb, if that is right"
            )
        if shard.name.endswith(LMDB):
            return self._checked(member, read_lmdb(self._lmdb(member.shard), member.name))
        try:
            data, size = read_range(self._backend, uri, member.offset, member.size)
        except (FileNotFoundError, NotADirectoryError):
            raise ShardError(f"shard {uri} is missing: its index {self.index.uri} lists it") from None
        except CutOffError:
            raise ShardError(_cut_off(uri, None, shard.size)) from None
        if size < shard.size or len(data) < member.size:
            raise ShardError(_cut_off(uri, size, shard.size))
        return self._checked(member, data if size == shard.size else None)

    def _checked(self, member: Member, data: bytes | None) -> bytes:
        """Return the content of a member; ShardError if it is not there, or not what the index says."""
        if data is None or hashlib.sha256(data).hexdigest() != member.sha256:
            raise ShardError(
                f"shard {self.index.uri_of(member.shard)} is altered: {member.name} is not what its index "
                f"{self.index.uri} says; pack it again, or copy both again"
            )
        return data

    def _lmdb(self, number: int) -> str:
        """Return the path of a shard in LMDB, once its whole content is known to be right."""
        shard, uri = self.index.shards[number], self.index.uri_of(number)
        if number in self._verified:
            return uri
        if not isinstance(self._backend, LocalBackend):
            raise ShardError(f"shard {uri}: LMDB is read from a disk of this machine only")
        if not os.path.isfile(uri):
            raise ShardError(f"shard {uri} is missing: its index {self.index.uri} lists it")
        if (size := os.path.getsize(uri)) < shard.size:
            raise ShardError(_cut_off(uri, size, shard.size))
        if file_hash(uri) != shard.sha256:
            raise ShardError(f"shard {uri} is altered: its hash is not what its index {self.index.uri} says")
        self._verified.add(number)
        return uri

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _verified=set())  # who gets this may have other files

    @contextmanager
    def local(self, member: Member) -> Iterator[Path]:
        """Yield a file on this machine with the content of a member; errors about it name the member.

        Raises:
            ShardError: See :meth:`read`.
            NoSpaceError: The disk is full.
        """
        if self.cache is not None and self.cache.keeps(member):
            with self.cache.local(member, lambda: self.read(member)) as path:
                yield from self._named(path, member)
            return
        data = self.read(member)
        with ExitStack() as stack:
            with naming_full_disk(tempfile.gettempdir(), len(data), "; TMPDIR names another folder"):
                handle, name = tempfile.mkstemp(prefix="mmlandmark-", suffix=f"-{member.name}")
                path = Path(name)
                stack.callback(path.unlink, missing_ok=True)
                with open(handle, "wb") as file:
                    file.write(data)
            del data
            yield from self._named(path, member)

    def _named(self, path: Path, member: Member) -> Iterator[Path]:
        try:
            yield path
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), self.name_of(member))) from error


def _cut_off(uri: str, size: int | None, expected: int) -> str:
    there = "fewer" if size is None else f"{size:,}"
    return f"shard {uri} is cut off: it has {there} of {expected:,} bytes; copy it again"


@dataclass(frozen=True)
class StoredImage:
    """The image of a sample in a shard, as :class:`~mmlandmark.datasets.transforms.LoadImage` takes it.

    Attributes:
        store: Of the shards.
        member: The image file.
    """

    store: ShardStore
    member: Member

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return self.store.name_of(self.member)

    def local(self) -> Any:
        """Return a context with a file on this machine, see :meth:`ShardStore.local`."""
        return self.store.local(self.member)
