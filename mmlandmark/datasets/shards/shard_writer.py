"""Writing samples to shards, in the layout of WebDataset, and their index."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from mmlandmark.datasets.readers.file_format import SUFFIXES
from mmlandmark.datasets.shards.shard_files import LMDB, LmdbShard, ShardFile, TarShard, lmdb_package
from mmlandmark.datasets.shards.shard_index import FORMAT, INDEX, STORED, VERSION, Member, Shard, entry_of
from mmlandmark.utils.files import atomic_path, file_hash, write_state

_OURS = re.compile(r"(\.shard-\d{6}-.*|shard-\d{6})\.(tar|lmdb)")
_BEGIN = json.dumps(dict(format=FORMAT))[:-1].encode()


class ShardWriter:
    """Writes samples one after the other; a shard appears when it is whole, and the index last.

    The same samples give the same bytes. Until the index is written a note in its place says that the packing
    is not finished, so one that was killed is repeated. Used as a context.

    Args:
        folder: Folder of shards and index; an index and shards that are there are replaced.
        most: Bytes after which a shard is closed; one sample may be larger.
        lmdb: Write LMDB in place of tar files.

    Raises:
        ImportError: ``lmdb`` needs a package that is not installed.
        ValueError: ``most`` is not positive; or, on entering, the folder holds shards or an index of another
            program, which have the same names.
    """

    def __init__(self, folder: str | Path, most: int, lmdb: bool = False) -> None:
        if most < 1:
            raise ValueError(f"a shard must hold at least a byte, got {most}")
        if lmdb:
            lmdb_package()
        self.folder, self.most = Path(folder), most
        self._suffix = LMDB if lmdb else ".tar"
        self._kind: type[LmdbShard] | type[TarShard] = LmdbShard if lmdb else TarShard
        self.shards: list[Shard] = []
        self._samples: list[dict[str, Any]] = []
        self._open: ShardFile | None = None
        self._split: str | None = None
        self._stack = ExitStack()

    def __enter__(self) -> ShardWriter:
        index = self.folder / INDEX
        if not _is_own(index):
            files = self.folder.glob("*")
            others = sorted(p.name for p in files if p.name == INDEX or _OURS.fullmatch(p.name))
            if others:
                raise ValueError(
                    f"{self.folder} holds {others[0]} of another program, which would be replaced: choose "
                    "another folder"
                )
        # The index of an earlier packing would not fit new shards.
        write_state(index, dict(format=FORMAT, version=VERSION, unfinished=True), indent=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)

    def add(self, sample: dict[str, Any], suffix: str, data: bytes) -> None:
        """Append a sample; those of another split begin a shard.

        Args:
            sample: Entry as of the project's JSON, with ``id`` and ``landmarks``.
            suffix: Of the image file, such as ``.png``.
            data: Content of the image file.

        Raises:
            ValueError: No image file has this suffix, or it is empty.
            NoSpaceError: The disk is full.
        """
        if suffix not in SUFFIXES or not data:
            raise ValueError(f"sample {sample['id']!r}: {suffix!r} with {len(data)} bytes is no image file")
        split = sample.get("split")
        if self._open is not None and (self._open.size >= self.most or split != self._split):
            self._close()
        if self._open is None:
            path = self._stack.enter_context(atomic_path(self.folder / self._name))
            self._open = self._stack.enter_context(closing(self._kind(path)))
            self._split, self._begin = split, len(self._samples)
        key = f"{len(self._samples):09d}"
        members = dict(
            image=self._write(f"{key}{suffix}", data),
            record=self._write(f"{key}.json", json.dumps(sample, allow_nan=False).encode()),
        )
        stored = {name: entry_of(member) for name, member in members.items()}
        self._samples.append(sample | {STORED: dict(shard=len(self.shards), **stored)})

    @property
    def _name(self) -> str:
        return f"shard-{len(self.shards):06d}{self._suffix}"

    def _write(self, name: str, data: bytes) -> Member:
        assert self._open is not None
        offset = self._open.add(name, data)
        return Member(len(self.shards), name, offset, len(data), hashlib.sha256(data).hexdigest())

    def _close(self) -> None:
        """Close the open shard, which gives it its name."""
        self._stack.close()
        path = self.folder / self._name
        count = len(self._samples) - self._begin
        self._open = None
        self.shards.append(Shard(path.name, path.stat().st_size, file_hash(path), count))

    def finish(self, schema: dict[str, Any] | None) -> Path:
        """Close the last shard, write the index and remove shards of an earlier packing; return the index.

        Args:
            schema: The landmarks, as in the project's JSON.

        Raises:
            ValueError: There is no sample.
        """
        if not self._samples:
            raise ValueError(f"{self.folder}: there is no sample to pack")
        if self._open is not None:
            self._close()
        known = {shard.name for shard in self.shards}
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in known:
                path.unlink()
        content = dict(format=FORMAT, version=VERSION, schema=schema)
        content |= dict(shards=[asdict(shard) for shard in self.shards], samples=self._samples)
        write_state(self.folder / INDEX, content, indent=None)
        return self.folder / INDEX


def _is_own(index: Path) -> bool:
    """Return whether an index, which may be large, was written here."""
    if not index.is_file():
        return False
    with index.open("rb") as file:
        return file.read(len(_BEGIN)) == _BEGIN
