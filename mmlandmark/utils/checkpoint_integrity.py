"""Detects damage to checkpoint files.

:func:`torch.save` writes a zip archive with a checksum for every entry, but :func:`torch.load` does not check
them. Our own files end with a SHA-256 of their content, in the comment of the archive, which other programs
ignore.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import zipfile
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmlandmark.utils.unpacked_size import check_archive, check_old_format

_MARK = b"mmlandmark-sha256:"
_COMMENT = len(_MARK) + 64
_LONGEST = 2**16 + 22  # the last record of an archive with its comment
_END = b"PK\x05\x06"  # how the last record of an archive begins; its last two bytes are the comment's length


class HashingFile:
    """A binary file that appends a hash of its content, as the comment of the archive, when it is closed.

    Args:
        path: File to write.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = Path(path).open("wb")  # noqa: SIM115  closed on leaving
        self._digest, self._tail = hashlib.sha256(), b""

    def write(self, data: Any) -> int:
        """Write bytes."""
        data = bytes(data)
        # Held back: the last two bytes of an archive are the length of its comment.
        whole = self._tail + data
        self._tail = whole[-2:]
        self._digest.update(whole[:-2])
        self._file.write(whole[:-2])
        return len(data)

    def flush(self) -> None:
        """Pass the data written so far on to the operating system."""
        self._file.flush()

    def __enter__(self) -> HashingFile:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                if self._tail != b"\0\0":
                    raise ValueError("not an archive without a comment")
                length = struct.pack("<H", _COMMENT)
                self._digest.update(length)
                self._file.write(length + _MARK + self._digest.hexdigest().encode())
        finally:
            self._file.close()


def check_integrity(path: Path, checked: bool = False) -> None:
    """Raise an error if a checkpoint file is damaged, as far as this can be detected.

    A file of ours is compared with its hash. For other archives the checksums of the entries are compared,
    which leaves their directory unprotected. An archive that unpacks to more than its size is refused. Files
    in torch's format from before 2020 have no checksums; this is logged as a warning.

    Args:
        path: The file.
        checked: Damage has been ruled out by another hash.

    Raises:
        ValueError: The file is damaged, or unpacks to more than its size.
    """
    with path.open("rb") as file:
        start = file.read(4)
        size = file.seek(0, 2)
        file.seek(max(size - _LONGEST, 0))
        tail = file.read()
        if start != b"PK\x03\x04":
            check_old_format(path)
        elif checked:
            check_archive(path, size)
        if checked:
            return
        if (mark := tail.rfind(_MARK)) >= 0:
            if mark != len(tail) - _COMMENT:
                raise _damaged_end(path)
            if _hash_until(file, size - _COMMENT) == tail[-64:]:
                check_archive(path, size)
                return
            raise ValueError(
                f"checkpoint {path} cannot be loaded safely: the file is damaged, its SHA-256 is not the one "
                "that was written"
            )
    if start != b"PK\x03\x04":
        if start[:1] == b"\x80":
            print_log(
                f"checkpoint {path} is in torch's format from before 2020, which has no checksums: damage "
                "cannot be detected; load and save it once to protect it",
                "current",
                logging.WARNING,
            )
        return
    _check_checksums(path, size, tail)


def _damaged_end(path: Path) -> ValueError:
    return ValueError(f"checkpoint {path} cannot be loaded safely: the file is damaged at its end")


def _check_checksums(path: Path, size: int, tail: bytes) -> None:
    """Compare the checksums in an archive that has no hash of ours."""
    end = tail.rfind(_END)
    if (
        end < 0
        or end + 22 > len(tail)
        or struct.unpack("<H", tail[end + 20 : end + 22])[0] != len(tail) - end - 22
    ):
        raise _damaged_end(path)
    check_archive(path, size)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # a damaged directory leads zipfile anywhere
        raise ValueError(
            f"checkpoint {path} cannot be loaded safely: the file is damaged: {error}"
        ) from error
    if damaged is not None:
        raise ValueError(
            f"checkpoint {path} cannot be loaded safely: the file is damaged (checksum of {damaged})"
        )


def written_hash(path: str | Path) -> str | None:
    """Return the hash at the end of a file, of which the rest is not read; None if it is not one of ours."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _COMMENT, 0))
        tail = file.read()
    return tail[-64:].decode(errors="replace") if tail.startswith(_MARK) else None


def _hash_until(file: Any, end: int) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    while end > 0 and (part := file.read(min(1 << 20, end))):
        digest.update(part)
        end -= len(part)
    return digest.hexdigest().encode()
