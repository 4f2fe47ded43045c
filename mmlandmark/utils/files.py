"""Files are written atomically, get safe names, and can be read whatever program wrote them."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import mmap
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmlandmark.utils.disk_space import naming_full_disk
from mmlandmark.utils.json_checksum import ChecksumError, with_checksum, without_checksum
from mmlandmark.utils.work_meter import sign_of_work

_PIECE = 2**26  # bytes that go to the disk at once


@contextmanager
def atomic_path(path: str | Path, size: int = 0, way: str = "", durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it if the block ends without an error.

    Args:
        path: The file.
        size: Bytes that it takes at least, for the message if the disk is full; 0 if unknown.
        way: End of that message.
        durable: The file is on the disk before it replaces the other, and its name afterwards, so that one of
            the two is whole even after a power failure. It takes some 10 ms: False for files that come in
            thousands and can be made again, such as those of caches, and pictures.

    Raises:
        NoSpaceError: The disk is full.
    """
    path, written = Path(path), 0
    with naming_full_disk(path, lambda: max(size, written), way):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            with suppress(PermissionError):  # FAT disks and some shares of other systems have no such bits
                temporary.chmod(0o666 & ~umask)
            if durable:
                _to_disk(temporary)
            os.replace(temporary, path)
            if durable:
                _to_disk(path.parent)
        finally:
            written = temporary.stat().st_size if temporary.exists() else 0
            temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Return when the content of a file, or the names in a folder, are on the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return  # which has no such call for folders
    try:
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            if not folder:
                _pieces_to_disk(handle)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not folder or error.errno not in _NOT_FOR_FOLDERS:
            raise


def _pieces_to_disk(handle: int) -> None:
    """Bring a large file to the disk piece by piece: a slow disk is not to be taken for one that is gone."""
    size = os.fstat(handle).st_size
    if size <= _PIECE:
        return
    try:
        data = mmap.mmap(handle, size)
    except OSError:  # the file system has no such maps; all goes at once
        return
    with data:
        for start in range(0, size, _PIECE):
            data.flush(start, min(_PIECE, size - start))
            sign_of_work()


# What file systems answer that cannot do it for folders, or where the folder may not be read.
_NOT_FOR_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES, errno.EPERM}


def atomic_write_text(path: str | Path, text: str, durable: bool = True) -> None:
    """Write ``text`` to ``path`` in UTF-8, creating its folder; see :func:`atomic_path`."""
    data = text.encode()
    with atomic_path(path, len(data), durable=durable) as temporary:
        temporary.write_bytes(data)


def atomic_write_json(path: str | Path, data: Any, indent: int | None = 2, durable: bool = True) -> None:
    """Write ``data`` to ``path`` as JSON; NaN raises an error, since many programs cannot read it."""
    atomic_write_text(path, json.dumps(data, indent=indent, allow_nan=False) + "\n", durable)


def write_state(
    path: str | Path, content: Mapping[str, Any], indent: int | None = 2, durable: bool = True
) -> None:
    """Write what the package goes on from as JSON with a checksum, which every reader here compares.

    Files that people edit are written by :func:`atomic_write_json`, without one.

    Args:
        path: File to write, atomically.
        content: An object without the key ``sha256``; NaN raises an error.
        indent: Of the text; None for large files, which are then read faster.
        durable: See :func:`atomic_path`.
    """
    atomic_write_text(path, with_checksum(content, indent) + "\n", durable)


def read_state(path: str | Path, cure: str) -> dict[str, Any]:
    """Return what :func:`write_state` wrote; files of earlier versions, without a checksum, are taken, too.

    Args:
        path: The file.
        cure: What to do without it, for the message: the end of "restore it from a copy, or ...".

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or holds something else; the message names the file and the cure.
    """
    cure = f": restore it from a copy, or {cure}"
    try:
        text = read_text(path)
    except ValueError as error:
        raise ValueError(f"{path}: the file is damaged, it is no text{cure}") from error
    return _object(parse_json(text, path, cure), path, cure)


def read_text(path: str | Path, legacy: bool = False) -> str:
    """Return the text of a file in UTF-8 or, with a byte order mark, UTF-16; with line ends of Unix.

    Args:
        path: The file.
        legacy: Read a file that is not UTF-8 as Windows-1252, which some spreadsheets write.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not text; the message names the file.
    """
    data = Path(path).read_bytes()
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if not legacy or encoding == "utf-16":
            name = "UTF-16" if encoding == "utf-16" else "UTF-8"
            raise ValueError(f"{path}: not a {name} text file; save it again as UTF-8") from error
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            raise ValueError(
                f"{path}: neither a UTF-8 text file nor one of Windows-1252; save it again as UTF-8"
            ) from error
    if "\0" in text:
        raise ValueError(
            f"{path}: not a text file, or UTF-16 without a byte order mark; save it again as UTF-8"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def load_json(path: str | Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is broken, an object has a key twice, or it has a checksum of :func:`write_state` that
            is not that of the rest; the message names file and, if known, line.
    """
    return parse_json(read_text(path), path)


def parse_json(text: str, path: str | Path, cure: str = "") -> Any:
    """Return the content of JSON text, without a checksum of :func:`write_state`.

    Args:
        text: What was read.
        path: From where, for messages.
        cure: End of messages: what to do.

    Raises:
        ValueError: See :func:`load_json`.
    """
    try:
        return without_checksum(json.loads(text, object_pairs_hook=_unique), text)
    except ChecksumError as error:
        raise ValueError(f"{path}: {error}{cure or _CHANGED}") from error
    except json.JSONDecodeError as error:
        if not text.strip():
            raise ValueError(f"{path}: the file is empty{cure}") from error
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}{cure}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not valid JSON: nested too deeply{cure}") from error
    except ValueError as error:  # a key twice, or a number of thousands of digits
        raise ValueError(f"{path}: not valid JSON: {error}{cure}") from error


_CHANGED = ': restore it from a copy, or remove its key "sha256" if it was changed on purpose'


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a file; raise a ValueError that names the file if it holds another value."""
    return _object(load_json(path), path)


def _object(data: Any, path: str | Path, cure: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(data).__name__}{cure}")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; of two equal keys Python would silently keep the last."""
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has the key {next(k for k in keys if keys.count(k) > 1)!r} twice")
    return result


# Names that Windows reserves for devices, with any suffix.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_NAME_BYTES = 120


def safe_name(text: object) -> str:
    """Return a name for a file or folder made from ``text``, such as a sample id; it is never a path.

    Letters, digits, ``_``, ``-``, ``.`` and inner blanks are kept. Everything else, such as separators and
    control characters, becomes ``_``, and long names are cut. A changed name ends with ``~`` and a hash of
    ``text``, so that two texts never share a file; an unchanged name has no ``~``.
    """
    given = str(text)
    name = re.sub(r"[^\w. -]|\.\.+", "_", unicodedata.normalize("NFC", given))
    if not name.strip(" ._-") or name[0] in " .-" or name[-1] in " .":
        name = name.strip(" .-") or "_"
    if _RESERVED.match(name):
        name = f"_{name}"
    while len(name.encode("utf-8", "replace")) > _NAME_BYTES:
        name = name[:-1]
    if name == given:
        return name
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{name}~{digest}"


def expanded(path: str | Path, folder: str | Path = "") -> str:
    """Return a path with ``~`` and ``$VARIABLES`` replaced; one that exists as it is written stays so.

    Args:
        path: As a config gives it.
        folder: That it is relative to.
    """
    text = os.fspath(path)
    if text and os.path.lexists(os.path.join(folder, text)):
        return text
    return os.path.expandvars(os.path.expanduser(text))


def file_hash(path: str | Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file's content by an algorithm of :mod:`hashlib`; FileNotFoundError without it."""
    digest = hashlib.new(algorithm)
    with Path(path).open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
