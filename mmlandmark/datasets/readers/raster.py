"""PNG, JPEG, BMP, TIFF and other formats of OpenCV, turned upright as their tags say."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mmlandmark.datasets.readers.claimed_size import TooLarge
from mmlandmark.datasets.readers.file_format import FileFormat, file_format
from mmlandmark.datasets.readers.loaded_image import LoadedImage, Remark, from_array, reorder
from mmlandmark.datasets.readers.raster_headers import (
    ORIENTATION,
    PHOTOMETRIC,
    TiffBytes,
    TiffField,
    jpeg_orientation,
    jpeg_shape,
    png_chunks,
    pnm_white,
    tiff_orientation,
    tiff_pages,
)
from mmlandmark.datasets.readers.tiff_stack import Pages, check_planes, read_stack, stack_shape
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
    inverted, white, orientation = False, None, 1
    if kind == "png":
        orientation = _png_orientation(data)
    elif kind == "tiff":
        pages = _pages(data)
        if stack_shape(data, pages):
            return read_stack(data, pages, fill_value)
        orientation = tiff_orientation(data)
        data, inverted, remarks = _plain_tiff(data, pages)
    elif kind == "unknown":
        white = pnm_white(data)
    array = _decoded(data, cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError(
            f"it is broken, or {path.suffix.lower() or 'a file without extension'} is not a known format"
        )
    if inverted:
        array = np.iinfo(str(array.dtype)).max - array if array.dtype.kind in "iu" else 1 - array
    image = from_array(
        _to_rgb(array),
        dims=2,
        value_range=None if white is None else (0.0, float(white)),
        bits=None if white is None else white.bit_length(),
        fill_value=fill_value,
        remarks=remarks,
    )
    return _upright(image, orientation, "TIFF orientation" if kind == "tiff" else "Exif orientation")


def _decoded(data: bytes, flags: int) -> np.ndarray | None:
    """Return the pixels that OpenCV decodes, None if it cannot.

    Raises:
        TooLarge: They are more than OpenCV decodes.
    """
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" not in str(error):
            raise
        raise TooLarge(
            "its header claims more pixels than OpenCV decodes, which are 2^30: if that is right, set "
            "OPENCV_IO_MAX_IMAGE_PIXELS in the environment"
        ) from error


def _to_rgb(array: np.ndarray) -> np.ndarray:
    """Reverse OpenCV's order of channels and drop opacity; grey stays grey."""
    if array.ndim == 2 or array.shape[2] < 3:
        return array
    if array.shape[2] > 4:
        return array  # from_array refuses it
    return array[..., 2::-1]


def upright_matrix(orientation: int, shape: Sequence[int]) -> np.ndarray:
    """Return the matrix from stored pixels to those that a viewer shows.

    Args:
        orientation: 1 to 8, see Exif 2.3, tag 274: where the first row and column of the file are shown.
        shape: (H, W) as stored.

    Returns:
        (3, 3) with one entry of 1 or -1 in each of its first two rows and columns, and an offset.
    """
    last_y, last_x = (side - 1 for side in shape)
    column, row = [1, 0, 0], [0, 1, 0]  # the pixel itself, and counted from the other end
    from_right, from_below = [-1, 0, last_x], [0, -1, last_y]
    x, y = {
        1: (column, row),
        2: (from_right, row),
        3: (from_right, from_below),
        4: (column, from_below),
        5: (row, column),
        6: (from_below, column),
        7: (from_below, from_right),
        8: (row, from_right),
    }[orientation]
    return np.array([x, y, [0, 0, 1]], dtype=np.float64)


def _upright(image: LoadedImage, orientation: int, tag: str) -> LoadedImage:
    """Return an image as viewers show it; its matrix leads there from the stored pixels."""
    if orientation == 1:
        return image
    message = (
        f"its {tag} is {orientation}: it is turned as viewers turn it, and landmarks are pixels of the image "
        "as it is stored; store it upright if they were marked in a viewer"
    )
    matrix = upright_matrix(orientation, image.array.shape[:2])
    return replace(
        image,
        array=reorder(image.array, matrix, 2),
        img_from_original=matrix @ image.img_from_original,
        remarks=(*image.remarks, Remark("orientation tag", message)),
    )


def raster_orientation(path: Path) -> int:
    """Return the orientation tag of a PNG, JPEG or TIFF, 1 without one or for other files.

    Checksums are not verified.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is cut off.
    """
    finders: dict[FileFormat, Callable[[TiffBytes], int]] = dict(
        png=partial(_png_orientation, verified=False), jpeg=jpeg_orientation, tiff=tiff_orientation
    )
    find = finders.get(file_format(path))
    if find is None:
        return 1
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return find(data)


def _png_orientation(data: TiffBytes, verified: bool = True) -> int:
    orientation = 1
    for name, start, length in png_chunks(data, verified):
        if name == b"eXIf":
            orientation = tiff_orientation(data[start : start + length])
    return orientation


def _pages(data: bytes) -> list[dict[int, TiffField]]:
    try:
        pages = list(tiff_pages(data))
    except struct.error as error:
        raise ValueError(f"the TIFF is cut off ({error})") from error
    if not pages:
        raise ValueError("the TIFF has no page")
    return pages


def _plain_tiff(data: bytes, pages: Pages) -> tuple[bytes, bool, list[Remark]]:
    """Return a TIFF that OpenCV neither rotates nor inverts, whether to invert it, and remarks.

    OpenCV always applies the orientation, but "white is zero" at 8 bits only.
    """
    fields, remarks = pages[0], []
    if len(pages) > 1:
        message = f"the TIFF has {len(pages)} pages of different kinds, of which the first is read"
        remarks.append(Remark("several pages", message))
    check_planes(fields)
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
    factor, flag, orientation = 1, cv2.IMREAD_COLOR, jpeg_orientation(data)
    if min_size is not None and len(min_size) == 2 and orientation > 4:
        min_size = min_size[::-1]  # rows become columns
    if header is not None:
        channels = 1 if header[2] == 1 else 3
        factor = reduction(header[:2], min_size)
        flag = _REDUCED.get((factor, channels), cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    array = _decoded(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if array is None:
        raise ValueError("it is not a valid JPEG")
    image = from_array(_to_rgb(array), dims=2)
    if header is not None:
        # The last row and column of a reduced image may reach beyond the original, by less than one of their
        # pixels. The scale is 1 / factor all the same, never new size over old size.
        matrix = scale_matrix(1 / factor, (-0.5, -0.5))
        image = replace(image, ori_shape=header[:2], img_from_original=matrix)
    return _upright(image, orientation, "Exif orientation")


def reduction(shape: Sequence[int], min_size: Sequence[int] | None) -> int:
    """Return the largest of 1, 2, 4, 8 by which ``shape`` can shrink and keep headroom above ``min_size``."""
    if min_size is None:
        return 1
    if len(min_size) != 2:
        raise ValueError(f"a JPEG has two dimensions, but the requested size is {tuple(min_size)}")
    room = min(side / (HEADROOM * wanted) for side, wanted in zip(shape, min_size, strict=True))
    return max((f for f in (2, 4, 8) if f <= room), default=1)
