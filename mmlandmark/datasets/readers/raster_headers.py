"""Reading the headers of PNG, JPEG, BMP and TIFF files, without decoding pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from mmlandmark.datasets.readers.loaded_image import Stored

_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
ORIENTATION, PHOTOMETRIC = 274, 262
_WIDTH, _HEIGHT, _BITS, _SAMPLE_FORMAT = 256, 257, 258, 339
_BYTE = np.dtype(np.uint8)


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


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
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


def jpeg_orientation(data: bytes) -> int:
    """Return the Exif orientation of a JPEG, 1 if it has none."""
    for marker, start, length in _jpeg_segments(data):
        if marker == 0xE1 and data[start + 2 : start + 8] == b"Exif\0\0":
            return tiff_orientation(data[start + 8 : start + length])
        if marker == 0xDA:
            break
    return 1


def tiff_orientation(data: bytes) -> int:
    """Return the orientation that the first directory of a TIFF structure states, 1 if it states none."""
    try:
        field = tiff_fields(data)[0].get(ORIENTATION)
    except (struct.error, ValueError):
        return 1
    return field.value if field is not None and 1 <= field.value <= 8 else 1


def tiff_fields(data: bytes) -> tuple[dict[int, TiffField], bool]:
    """Return the integer fields of the first directory of a TIFF, and whether there is a second one.

    Raises:
        ValueError: The data is not a TIFF.
        struct.error: It is cut off.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("not a TIFF")
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    at = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
    at += 8 if big else 2
    fields: dict[int, TiffField] = {}
    for _ in range(min(count, 4096)):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
        inline = at + (12 if big else 8)
        if kind in _TIFF_TYPES:
            code = order + _TIFF_TYPES[kind]
            fits = struct.calcsize(code) * number <= (8 if big else 4)
            where = inline if fits else struct.unpack_from(order + ("Q" if big else "I"), data, inline)[0]
            if where + struct.calcsize(code) <= len(data):
                fields[tag] = TiffField(struct.unpack_from(code, data, where)[0], where, code)
        at += 20 if big else 12
    more = struct.unpack_from(order + ("Q" if big else "I"), data, at)[0]
    return fields, more != 0


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, offset of the content, length) of the chunks of a PNG.

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
        if zlib.crc32(memoryview(data)[position + 4 : start + length]) != int.from_bytes(check, "big"):
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


def tiff_header(file: BinaryIO) -> Stored:
    """Return size, as stored, and type of the first page of a TIFF."""
    fields, _ = tiff_fields(file.read())  # The directory may be at the end.
    return Stored((fields[_HEIGHT].value, fields[_WIDTH].value), tiff_dtype(fields))


def tiff_dtype(fields: dict[int, TiffField]) -> np.dtype | None:
    """Return the type of the values of a page, of fewer than 8 bits that of 8; None if it is unusual."""
    bits = fields[_BITS].value if _BITS in fields else 1
    kind = {1: "u", 2: "i", 3: "f"}.get(fields[_SAMPLE_FORMAT].value if _SAMPLE_FORMAT in fields else 1)
    if kind is None or bits not in (1, 2, 4, 8, 16, 32, 64):
        return None
    return np.dtype(f"{kind}{max(bits, 8) // 8}")
