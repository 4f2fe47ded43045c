"""What the header of a file says about its pixels, in every format, and whether it can be true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mmlandmark.datasets.readers.claimed_size import check_claim
from mmlandmark.datasets.readers.file_format import FileFormat, is_gzip
from mmlandmark.datasets.readers.loaded_image import Stored
from mmlandmark.datasets.readers.nifti import nifti_header
from mmlandmark.datasets.readers.raster_headers import (
    bmp_header,
    jpeg_header,
    png_header,
    pnm_header,
    webp_header,
)
from mmlandmark.datasets.readers.tiff_stack import tiff_header
from mmlandmark.datasets.readers.volume import (
    metaimage_header,
    npy_header,
    nrrd_header,
    pixels_of,
)
from mmlandmark.utils.bounded_reading import BoundedFile

# DICOM is not among them: pydicom reads its header from a path.
HEADERS: dict[FileFormat, Callable[[BinaryIO], Stored]] = {
    "png": png_header,
    "bmp": bmp_header,
    "jpeg": jpeg_header,
    "tiff": tiff_header,
    "metaimage": metaimage_header,
    "nrrd": nrrd_header,
    "nifti": nifti_header,
    "npy": npy_header,
}
_BY_OPENCV = ("png", "bmp", "jpeg", "tiff", "webp", "unknown")
# Formats of which OpenCV alone knows the rest.
_OTHERS: dict[FileFormat, Callable[[BinaryIO], Stored | None]] = {"webp": webp_header, "unknown": pnm_header}


def check_size(path: Path, kind: FileFormat) -> None:
    """Refuse a file whose header claims more pixels than are allowed, or than it can hold.

    DICOM is checked where its header is read.

    Raises:
        TooLarge: See :func:`~mmlandmark.datasets.readers.claimed_size.check_claim`.
        ValueError: The header is broken.
    """
    read = HEADERS.get(kind) or _OTHERS.get(kind)
    if read is None:
        return
    try:
        with BoundedFile(path) as file:
            stored = read(file)
    except Exception:
        if kind not in _BY_OPENCV:
            raise
        return  # OpenCV, which decodes no more than 2^30 pixels, or what comes before it, says what is wrong
    if stored is None:
        return
    held, packed = _held(path, kind)
    check_claim(stored.shape, 1 if stored.dtype is None else stored.dtype.itemsize, held, packed)


def _held(path: Path, kind: FileFormat) -> tuple[int | None, bool]:
    """Return the bytes of the file of the pixels, None if it is not one, and whether they may be packed."""
    if kind in ("metaimage", "nrrd"):
        return pixels_of(path, kind == "metaimage")
    return path.stat().st_size, kind not in ("npy", "nifti") or is_gzip(path)
