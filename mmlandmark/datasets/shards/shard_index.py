"""The index of a packed data set: its shards, and where in them every sample is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmlandmark.datasets.values import sample_id_of
from mmlandmark.utils.file_backends import open_backend, read_bounded
from mmlandmark.utils.files import parse_json

FORMAT, VERSION = "mmlandmark shards", 1
INDEX = "index.json"
STORED = "stored"  # key of a sample's entry: the number of its shard, and its members
MOST = 2**31  # bytes of an index
_CURE = "restore it from a copy, or pack the data again"
_NAME = re.compile(r"[\w-][\w.-]*\.(tar|lmdb)")
_MEMBER = re.compile(r"\d+\.[a-z0-9]+(\.gz)?")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Shard:
    """A tar file, or one of LMDB.

    Attributes:
        name: Of the file, beside the index.
        size: Its bytes.
        sha256: Of its content.
        count: Samples in it.
    """

    name: str
    size: int
    sha256: str
    count: int


@dataclass(frozen=True)
class Member:
    """A file inside of a shard.

    Attributes:
        shard: Number of the shard.
        name: Of the file.
        offset: Of its first byte in the shard; 0 in LMDB, where it is found by its name.
        size: Its bytes.
        sha256: Of its content.
    """

    shard: int
    name: str
    offset: int
    size: int
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """A data set in shards.

    Attributes:
        uri: Of the index.
        shards: In their order.
        samples: Entries as of the project's JSON, each with the image as a :class:`Member` under
            :data:`STORED`.
        schema: The landmarks, as in the project's JSON.
    """

    uri: str
    shards: tuple[Shard, ...]
    samples: tuple[dict[str, Any], ...]
    schema: dict[str, Any] | None

    def uri_of(self, shard: int) -> str:
        """Return where a shard is: beside the index."""
        folder, slash, _ = self.uri.replace("\\", "/").rpartition("/")
        return f"{folder}{slash}{self.shards[shard].name}"

    @classmethod
    def read(cls, uri: str, backend_args: dict[str, Any] | None = None) -> ShardIndex:
        """Read and check an index.

        Args:
            uri: A path, or an address with ``http``, ``https`` or ``s3``.
            backend_args: See :func:`~mmlandmark.utils.file_backends.open_backend`.

        Raises:
            FileNotFoundError: There is none.
            OSError: The server does not answer well.
            ValueError: It is no index, or says something impossible; the message names the entry.
        """
        data = read_bounded(open_backend(uri, backend_args), uri, MOST)
        try:
            content = parse_json(data.decode("utf-8"), uri, f": {_CURE}")
        except UnicodeDecodeError:
            raise ValueError(f"{uri}: this is no index of shards, but no text at all: {_CURE}") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{uri}: this is no index of shards; mmlandmark pack-data --shards writes one")
        if content.get("version") != VERSION:
            raise ValueError(f"{uri}: version {content.get('version')!r:.40} is not known, only {VERSION}")
        if content.get("unfinished"):
            raise ValueError(f"{uri}: the packing was stopped before its end: give the same command again")
        shards, samples = content.get("shards"), content.get("samples")
        if not isinstance(shards, list) or not isinstance(samples, list):
            raise ValueError(f"{uri}: 'shards' and 'samples' must be lists")
        known = tuple(_shard(one, f"{uri}, shards[{i}]") for i, one in enumerate(shards))
        if len({shard.name for shard in known}) < len(known):
            raise ValueError(f"{uri}: two shards have one name")
        whole = tuple(_sample(one, known, f"{uri}, samples[{i}]") for i, one in enumerate(samples))
        counts = [0] * len(known)
        for sample in whole:
            counts[sample[STORED].shard] += 1
        for shard, count in zip(known, counts, strict=True):
            if shard.count != count:
                raise ValueError(f"{uri}: shard {shard.name!r} has {shard.count} samples, {count} are listed")
        return cls(uri, known, whole, content.get("schema"))


def _natural(value: Any, where: str, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{where}: {key} must be a whole number, got {value!r:.40}")
    return value


def _text(value: Any, pattern: re.Pattern[str], where: str, key: str) -> str:
    """Return a name or hash; names are single files, so that none leads out of the folder."""
    if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
        raise ValueError(f"{where}: {key} {value!r:.80} is not valid")
    return value


def _object(value: Any, keys: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        raise ValueError(f"{where}: needs exactly the keys {sorted(keys)}")
    return value


def _shard(value: Any, where: str) -> Shard:
    entry = _object(value, {"name", "size", "sha256", "count"}, where)
    return Shard(
        _text(entry["name"], _NAME, where, "name"),
        _natural(entry["size"], where, "size"),
        _text(entry["sha256"], _HASH, where, "sha256"),
        _natural(entry["count"], where, "count"),
    )


def _sample(value: Any, shards: Sequence[Shard], where: str) -> dict[str, Any]:
    """Return a sample's entry with its image as a checked member; that of the record is not read here."""
    if not isinstance(value, dict) or not isinstance(value.get(STORED), dict):
        raise ValueError(f"{where}: a sample is an object with {STORED!r}")
    if "id" not in value:
        raise ValueError(f"{where}: 'id', the name of the sample, is missing")
    sample_id_of(value["id"], where)
    entry = _object(value[STORED], {"shard", "image", "record"}, f"{where}, {STORED}")
    number = _natural(entry["shard"], where, "shard")
    if number >= len(shards):
        raise ValueError(f"{where}: there is no shard {number}, there are {len(shards)}")
    members = {
        key: _member(entry[key], number, shards[number], f"{where}, {key}") for key in ("image", "record")
    }
    return dict(value, **{STORED: members["image"]})


def _member(value: Any, number: int, shard: Shard, where: str) -> Member:
    entry = _object(value, {"name", "offset", "size", "sha256"}, where)
    member = Member(
        number,
        _text(entry["name"], _MEMBER, where, "name"),
        _natural(entry["offset"], where, "offset"),
        _natural(entry["size"], where, "size"),
        _text(entry["sha256"], _HASH, where, "sha256"),
    )
    if not member.size or member.offset + member.size > shard.size:
        raise ValueError(f"{where}: it does not lie inside of shard {shard.name!r} of {shard.size} bytes")
    return member


def entry_of(member: Member) -> dict[str, Any]:
    """Return a member as in the index."""
    return {key: value for key, value in asdict(member).items() if key != "shard"}
