"""PNG, JPEG, BMP, TIFF and other formats of OpenCV, as stored pixels."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mmlandmark.datasets.readers.file_format import FileFormat
from mmlandmark.datasets.readers.loaded_image import LoadedImage, Remark, from_array
from mmlandmark.datasets.readers.raster_headers import (
    ORIENTATION,
    PHOTOMETRIC,
    jpeg_orientation,
    jpeg_shape,
    png_chunks,
    tiff_fields,
    tiff_orientation,
)
from mmlandmark.structures import scale_matrix

_REDUCED = {
    (2, 1): cv2.IMREAD_REDUCED_GRAYSCALE_2,
    (4, 1): cv2.IMREAD_REDUCED_GRAYSCALE_4,
    (8, 1): cv2.IMREAD_REDUCED_GRAYSCALE_8,
    (2, 3): cv2.IMREAD_REDUCED_COLOR_2,
    (4, 3): cv2.IMREAD_REDUCED_COLOR_4,
    (8, 3): cv2.IMREAD_REDUCED_COLOR_8,
}
# A JPEG is decoded at reduced scale only if that leaves this factor above the requested size. On
# cephalograms the result then differs from a full decode by less than half a grey level on average and
# by 0.02 px in position (mmlandmark benchmark-loader measures both); without headroom it is twice that.
HEADROOM = 1.5


def read_raster(
    path: Path, kind: FileFormat, min_size: Sequence[int] | None, fill_value: float | None
) -> LoadedImage:
    """Read a file of a format that OpenCV decodes; see :func:`~mmlandmark.datasets.image_io.read_image`."""
    data = path.read_bytes()
    if kind == "jpeg":
        return _read_jpeg(data, min_size)
    remarks: list[Remark] = []
    inverted, white = False, None
    if kind == "png":
        remarks = _png_remarks(data)
    elif kind == "tiff":
        data, inverted, remarks = _plain_tiff(data)
    elif kind == "unknown":
        white = _pnm_white(data)
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError(
            f"it is broken, or {path.suffix.lower() or 'a file without extension'} is not a known format"
        )
    if inverted:
        array = np.iinfo(str(array.dtype)).max - array if array.dtype.kind in "iu" else 1 - array
    return from_array(
        _to_rgb(array),
        dims=2,
        value_range=None if white is None else (0.0, float(white)),
        bits=None if white is None else white.bit_length(),
        fill_value=fill_value,
        remarks=remarks,
    )


def _pnm_white(data: bytes) -> int | None:
    """Return the largest value that a PGM or PPM states, None for other formats."""
    gap = rb"(?:\s|#[^\n]*\n)+"
    match = re.match(rb"P[2356]" + gap + rb"\d+" + gap + rb"\d+" + gap + rb"(\d+)\s", data[:4096])
    return int(match[1]) if match and 0 < int(match[1]) < 65536 else None


def _to_rgb(array: np.ndarray) -> np.ndarray:
    """Reverse OpenCV's order of channels and drop opacity; grey stays grey."""
    if array.ndim == 2 or array.shape[2] < 3:
        return array
    if array.shape[2] > 4:
        return array  # from_array refuses it
    return array[..., 2::-1]


def orientation_remark(orientation: int, tag: str) -> list[Remark]:
    """Return a remark on an orientation tag, which is ignored since landmarks refer to the stored pixels."""
    if orientation == 1:
        return []
    message = (
        f"its {tag} is {orientation}: viewers rotate or mirror the image, here it stays as it is stored, and "
        "landmarks are pixels of the stored image; store it upright if they were marked in a viewer"
    )
    return [Remark("orientation tag", message)]


def _png_remarks(data: bytes) -> list[Remark]:
    orientation = 1
    for name, start, length in png_chunks(data):
        if name == b"eXIf":
            orientation = tiff_orientation(data[start : start + length])
    return orientation_remark(orientation, "Exif orientation")


def _plain_tiff(data: bytes) -> tuple[bytes, bool, list[Remark]]:
    """Return a TIFF that OpenCV neither rotates nor inverts, whether to invert it, and remarks.

    OpenCV always applies the orientation, but "white is zero" at 8 bits only.
    """
    try:
        fields, more = tiff_fields(data)
    except struct.error as error:
        raise ValueError(f"the TIFF is cut off ({error})") from error
    remarks = orientation_remark(tiff_orientation(data), "TIFF orientation")
    if more:
        remarks.append(Remark("several pages", "the TIFF has several pages, of which the first is read"))
    plain = bytearray(data)
    inverted = PHOTOMETRIC in fields and fields[PHOTOMETRIC].value == 0
    for tag, wanted in ((ORIENTATION, True), (PHOTOMETRIC, inverted)):
        if tag in fields and wanted:
            struct.pack_into(fields[tag].code, plain, fields[tag].offset, 1)
    return bytes(plain), inverted, remarks


def _read_jpeg(data: bytes, min_size: Sequence[int] | None) -> LoadedImage:
    header = jpeg_shape(data)
    # Inside scan data FF is always followed by 00 or a restart, so the end marker cannot occur there.
    if data.rfind(b"\xff\xd9") < (header[3] if header else 2):
        raise ValueError("the JPEG is cut off, its end is missing")
    factor, flag = 1, cv2.IMREAD_COLOR
    if header is not None:
        channels = 1 if header[2] == 1 else 3
        factor = reduction(header[:2], min_size)
        flag = _REDUCED.get((factor, channels), cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if array is None:
        raise ValueError("it is not a valid JPEG")
    remarks = orientation_remark(jpeg_orientation(data), "Exif orientation")
    image = from_array(_to_rgb(array), dims=2, remarks=remarks)
    if header is None:
        return image
    # The last row and column of a reduced image may reach beyond the original, by less than one of their
    # pixels. The scale is 1 / factor all the same, never new size over old size.
    return replace(image, ori_shape=header[:2], img_from_original=scale_matrix(1 / factor, (-0.5, -0.5)))


def reduction(shape: Sequence[int], min_size: Sequence[int] | None) -> int:
    """Return the largest of 1, 2, 4, 8 by which ``shape`` can shrink and keep headroom above ``min_size``."""
    if min_size is None:
        return 1
    if len(min_size) != 2:
        raise ValueError(f"a JPEG has two dimensions, but the requested size is {tuple(min_size)}")
    room = min(side / (HEADROOM * wanted) for side, wanted in zip(shape, min_size, strict=True))
    return max((f for f in (2, 4, 8) if f <= room), default=1)
