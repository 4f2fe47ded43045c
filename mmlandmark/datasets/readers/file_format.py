"""Recognising the format of a file by its first bytes."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Literal

FileFormat = Literal[
    "png", "jpeg", "bmp", "tiff", "webp", "dicom", "nifti", "nrrd", "metaimage", "npy", "unknown"
]  # fmt: skip

SUFFIXES: dict[str, FileFormat] = {
    **dict.fromkeys((".png",), "png"),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg"),
    **dict.fromkeys((".bmp", ".dib"), "bmp"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **dict.fromkeys((".webp",), "webp"),
    **dict.fromkeys((".dcm", ".dicom"), "dicom"),
    **dict.fromkeys((".nii", ".nii.gz"), "nifti"),
    **dict.fromkeys((".nrrd", ".nhdr"), "nrrd"),
    **dict.fromkeys((".mha", ".mhd"), "metaimage"),
    **dict.fromkeys((".npy",), "npy"),
}
_MAGIC: tuple[tuple[bytes, FileFormat], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8", "jpeg"), (b"BM", "bmp"), (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"), (b"II+\0", "tiff"), (b"MM\0+", "tiff"), (b"NRRD000", "nrrd"), (b"\x93NUMPY", "npy"),
)  # fmt: skip
_NIFTI = {b"n+1\0": 344, b"ni1\0": 344, b"n+2\0": 4, b"ni2\0": 4}
_HEAD = 4096  # bytes that are enough to recognise any format


def suffix_of(path: str | Path) -> str:
    """Return the suffix of a file in lower case; ``.nii.gz`` counts as one."""
    path = Path(path)
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def file_format(path: str | Path) -> FileFormat:
    """Return the format of a file by its content.

    DICOM files without the preamble that the standard asks for are recognised by their first element.
    """
    with open(path, "rb") as file:
        return format_of_bytes(file.read(_HEAD))


def is_gzip(path: str | Path) -> bool:
    """Return whether the content of a file is packed by gzip."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def format_of_bytes(head: bytes) -> FileFormat:
    """Return the format of a file from its first 4096 bytes, or "unknown"."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[128:132] == b"DICM":
        return "dicom"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _HEAD)
        except zlib.error:
            return "unknown"
    if any(head[at : at + 4] == magic for magic, at in _NIFTI.items()):
        return "nifti"
    if re.search(rb"^\s*NDims\s*=", head, re.MULTILINE) or re.match(rb"\s*ObjectType\s*=\s*Image", head):
        return "metaimage"
    # Group 2 or 8 of a data set in little endian, with a type of two letters or a length of few bytes.
    if (
        head[:1] in (b"\x02", b"\x08")
        and head[1:2] == b"\0"
        and (head[4:6].isalpha() or head[6:8] == b"\0\0")
    ):
        return "dicom"
    return "unknown"
