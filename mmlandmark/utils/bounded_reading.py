"""Reading without surprises: a file may claim to hold gigabytes, or unpack to a thousand times its size."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

_CUT_OFF = "it is cut off: its packed content has no end"


class BoundedFile(io.BufferedReader):
    """A file of which no more is asked than it holds.

    Libraries ask for as much as an entry of the file claims, and Python reserves that much memory first.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = Path(path).stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, all of them if ``size`` is None or negative."""
        left = max(self._size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def gunzip(data: bytes, most: int) -> bytes:
    """Return the content of a gzip file, of any number of members, with its checksums verified.

    Args:
        data: The file.
        most: Bytes that the content may have.

    Raises:
        ValueError: It is damaged, cut off, or holds more than ``most``; memory is used for that much only.

    Example:
        >>> import gzip
        >>> gunzip(gzip.compress(b"abc") + gzip.compress(b"d"), 4)
        b'abcd'
    """
    parts, left = [], most
    while data:
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(data, left + 1)
        except zlib.error as error:
            raise ValueError(f"its packed content is damaged ({error})") from error
        if len(part) > left:
            raise ValueError(f"it unpacks to more than {most:,} bytes, which is more than its header says")
        if not stream.eof:
            raise ValueError(_CUT_OFF)
        parts.append(part)
        left -= len(part)
        data = stream.unused_data.lstrip(b"\0")  # padding is allowed
    return b"".join(parts) if len(parts) != 1 else parts[0]
