"""Reading the headers of PNG, JPEG, BMP and TIFF files, without decoding pixels."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, NamedTuple, TypeAlias

import numpy as np

from mmlandmark.datasets.readers.loaded_image import Stored

_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
ORIENTATION, PHOTOMETRIC = 274, 262
_BITS, _SAMPLE_FORMAT = 258, 339
_TIFF_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_BYTE = np.dtype(np.uint8)


TiffBytes: TypeAlias = "bytes | mmap.mmap"


class TiffField(NamedTuple):
    """The first value of a field, and its offset in the file."""

    value: int
    offset: int
    code: str  # of struct, with its byte order


def jpeg_shape(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (height, width, channels, offset of the scan data) from a JPEG's headers, without decoding.

    None means that the headers do not contain it and the image must be decoded.
    """
    frame = None
    for marker, start, length in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame, of any coding
            if start + 8 > len(data):
                return None
            height, width = struct.unpack(">HH", data[start + 3 : start + 7])
            frame = (height, width, data[start + 7])
        if marker == 0xDA:  # start of scan
            return None if frame is None or 0 in frame else (*frame, start + length)
    return None


def _jpeg_segments(data: TiffBytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, offset of its length, length) up to the scan data."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, position + 2, length
        position += 2 + length


def jpeg_orientation(data: TiffBytes) -> int:
    """Return the Exif orientation of a JPEG, 1 if it has none."""
    for marker, start, length in _jpeg_segments(data):
        if marker == 0xE1 and data[start + 2 : start + 8] == b"Exif\0\0":
            return tiff_orientation(data[start + 8 : start + length])
        if marker == 0xDA:
            break
    return 1


def tiff_orientation(data: TiffBytes) -> int:
    """Return the orientation that the first directory of a TIFF structure states, 1 if it states none."""
    try:
        field = next(tiff_pages(data)).get(ORIENTATION)
    except (struct.error, ValueError, StopIteration):
        return 1
    return field.value if field is not None and 1 <= field.value <= 8 else 1


def tiff_pages(data: TiffBytes) -> Iterator[dict[int, TiffField]]:
    """Yield the integer fields of every page of a TIFF.

    Raises:
        ValueError: The data is not a TIFF.
        struct.error: It is cut off.
    """
    order, big, at = _tiff_start(data)
    seen: set[int] = set()
    while at and at not in seen:  # a damaged file may lead back
        seen.add(at)
        fields: dict[int, TiffField] = {}
        for tag, kind, number, where in _tiff_entries(data, order, big, at):
            code = order + _TIFF_TYPES.get(kind, "")
            if kind in _TIFF_TYPES and number and where + struct.calcsize(code) <= len(data):
                fields[tag] = TiffField(struct.unpack_from(code, data, where)[0], where, code)
        yield fields
        count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
        end = at + (8 + 20 * count if big else 2 + 12 * count)
        at = struct.unpack_from(order + ("Q" if big else "I"), data, end)[0]


def tiff_values(data: TiffBytes, tag: int) -> str | Fraction | None:
    """Return a text or a fraction of the first page of a TIFF, None if it has no such field."""
    order, big, at = _tiff_start(data)
    for name, kind, number, where in _tiff_entries(data, order, big, at):
        if name != tag:
            continue
        if kind == 2:
            return bytes(data[where : where + number]).split(b"\0")[0].decode("utf-8", "replace")
        if kind == 5:
            above, below = struct.unpack_from(order + "II", data, where)
            return Fraction(above, below) if below else None
    return None


def _tiff_start(data: TiffBytes) -> tuple[str, bool, int]:
    """Return the byte order of a TIFF, whether it is a BigTIFF, and where its first page is described."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        raise ValueError("not a TIFF")
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    return order, big, struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]


def _tiff_entries(data: TiffBytes, order: str, big: bool, at: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, type, number of values and their place, of every field of the page described at ``at``."""
    count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
    at += 8 if big else 2
    for _ in range(count):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
        inline = at + (12 if big else 8)
        fits = _TIFF_SIZES.get(kind, 1) * number <= (8 if big else 4)
        yield (
            tag,
            kind,
            number,
            inline if fits else struct.unpack_from(order + ("Q" if big else "I"), data, inline)[0],
        )
        at += 20 if big else 12


def png_chunks(data: TiffBytes, verified: bool = True) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, offset of the content, length) of the chunks of a PNG.

    Args:
        data: The file.
        verified: Whether its checksums are looked at, which takes reading all of it.

    Raises:
        ValueError: A chunk is damaged or cut off.
    """
    position = 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        name, start = data[position + 4 : position + 8], position + 8
        check = data[start + length : start + length + 4]
        if len(check) < 4:
            raise ValueError("the PNG is cut off")
        with memoryview(data) as view, view[position + 4 : start + length] as part:
            checksum = zlib.crc32(part) if verified else None
        if checksum not in (None, int.from_bytes(check, "big")):
            raise ValueError(f"the PNG is damaged: the checksum of its part {name!r} is wrong")
        yield name, start, length
        if name == b"IEND":
            return
        position = start + length + 4
    raise ValueError("the PNG is cut off, its end is missing")


def png_header(file: BinaryIO) -> Stored:
    """Return size and type of a PNG; fewer than 8 bits are spread over 8."""
    width, height, bits = struct.unpack(">IIB", file.read(25)[16:25])
    return Stored((height, width), np.dtype(np.uint16) if bits > 8 else _BYTE)


def bmp_header(file: BinaryIO) -> Stored:
    """Return size and type of a BMP."""
    head = file.read(26)
    if struct.unpack_from("<I", head, 14)[0] == 12:  # the header of OS/2
        width, height = struct.unpack("<HH", head[18:22])
        return Stored((height, width), _BYTE)
    width, height = struct.unpack("<ii", head[18:26])
    return Stored((abs(height), width), _BYTE)  # a negative height marks rows stored from the top


def jpeg_header(file: BinaryIO) -> Stored:
    """Return size and type of a JPEG."""
    data = file.read(1 << 17)
    # Rarely, long comments or a preview picture come before the frame.
    header = jpeg_shape(data) or jpeg_shape(data + file.read())
    if header is None:
        raise ValueError("no frame")
    return Stored(header[:2], _BYTE)


def webp_header(file: BinaryIO) -> Stored | None:
    """Return size and type of a WebP, None if it is of an unknown kind."""
    head = file.read(30)
    kind, body = head[12:16], head[20:]
    if kind == b"VP8X" and len(body) == 10:
        width, height = (1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
    elif kind == b"VP8 " and len(body) == 10:
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
    elif kind == b"VP8L" and len(body) == 10:
        bits = int.from_bytes(body[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        return None
    return Stored((height, width), _BYTE)


_GAP = rb"(?:\s|#[^\n]*\n)+"
_PNM = re.compile(rb"P([1-6])" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,10})(?:" + _GAP + rb"(\d{1,5})\s)?")


def pnm_header(file: BinaryIO) -> Stored | None:
    """Return size and type of a PBM, PGM or PPM, None for other formats."""
    match = _PNM.match(file.read(4096))
    if match is None:
        return None
    deep = match[1] not in b"14" and int(match[4] or 0) > 255
    return Stored((int(match[3]), int(match[2])), np.dtype(np.uint16) if deep else _BYTE)


def pnm_white(data: bytes) -> int | None:
    """Return the largest value that a PGM or PPM states, None for other formats."""
    match = _PNM.match(data[:4096])
    found = match is not None and match[1] not in b"14" and match[4] is not None
    return int(match[4]) if match and found and 0 < int(match[4]) < 65536 else None


def tiff_dtype(fields: dict[int, TiffField]) -> np.dtype | None:
    """Return the type of the values of a page, of fewer than 8 bits that of 8; None if it is unusual."""
    bits = fields[_BITS].value if _BITS in fields else 1
    kind = {1: "u", 2: "i", 3: "f"}.get(fields[_SAMPLE_FORMAT].value if _SAMPLE_FORMAT in fields else 1)
    if kind is None or bits not in (1, 2, 4, 8, 16, 32, 64):
        return None
    return np.dtype(f"{kind}{max(bits, 8) // 8}")
